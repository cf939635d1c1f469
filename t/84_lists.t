# Long lists: in pieces, exactly those objects that were asked for, and cut, not
# short, when the index fails; in the memory of one piece.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchRedisProxy;
use Test::Nginx::Socket 'no_plan';

Test::Nginx::Util::workers(1);

our $proxy = BatchRedisProxy->start(test_dir() . '/proxy.sock',
                                    test_dir() . '/redis.sock');

Test::Nginx::Util::add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(redis_conf => 'batch_redis unix:' . test_dir()
                                    . '/proxy.sock timeout=40s;');
});

# so many files, the oldest first

sub files {
    my ($n) = @_;
    return map { upload(jsonl(1), filename => 'a' x 200 . $_)->{json}{id} }
           1 .. $n;
}

sub ids { return map { $_->{id} } @{ $_[0]{json}{data} } }

sub asked { return $proxy->seen->{commands}{$_[0]} // 0 }

# what comes until the connection ends, or for so many seconds

sub all {
    my ($c) = @_;
    while ($c->fill) { }
    return $c->{in};
}

# the text of a chunked answer; undef: it was cut

sub whole {
    my ($text) = @_;
    my $body = '';

    $text =~ /\r\n\r\n/g or return undef;

    while ($text =~ /\G([0-9a-f]+)\r\n/g) {
        my ($n, $at) = (hex $1, pos $text);
        return $body if $n == 0;
        return undef if length $text < $at + $n + 2;
        $body .= substr $text, $at, $n;
        pos $text = $at + $n + 2;
    }

    return undef;
}

# the ids of a list that is too large for a parser in Perl

sub large {
    my ($c) = @_;
    my $text = whole(all($c)) // return 'cut';

    return 'no end' if $text !~ /"has_more":false\}$/;
    return [$text =~ /\{"id":"(batch_\w+)","object":"batch"/g];
}

# 0 with sanitizers, which keep what was freed for a while

sub rss {
    return 0 if ($ENV{TEST_NGINX_BINARY} // '') =~ /asan/;
    my ($pid) = nginx_workers();
    slurp("/proc/$pid/status") =~ /^VmRSS:\s*(\d+) kB/m or die;
    return $1;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: a list of any length is exact
--- flow
my @f = main::files(330);
my $before = main::asked('file_list');
my $r = api('GET', '/v1/files?limit=10000');
is_deeply([main::ids($r)], [reverse @f], 'all of them');
ok($r->{headers}{'transfer-encoding'} && !$r->{headers}{'content-length'},
   'as a stream');
is($r->{json}{has_more}, $JSON::PP::false, 'no more');
is($r->{json}{first_id}, $f[-1], 'first_id');
is($r->{json}{last_id}, $f[0], 'last_id');
cmp_ok(main::asked('file_list') - $before, '>=', 6, 'the index in pieces');

for my $n (329, 330, 331, 64, 63, 65, 1) {
    my $r = api('GET', "/v1/files?order=asc&limit=$n");
    my $max = $n < 330 ? $n : 330;
    is_deeply([main::ids($r)], [@f[0 .. $max - 1]], "$n files");
    is(!!$r->{json}{has_more}, $n < 330, "$n: has_more");
    is($r->{json}{last_id}, $f[$max - 1], "$n: last_id");
}

my @got;
my $after = '';
while (1) {
    my $r = api('GET', "/v1/files?limit=50$after");
    ok($r->{headers}{'content-length'}, 'a short one has a length');
    push @got, main::ids($r);
    last unless $r->{json}{has_more};
    $after = "&after=$r->{json}{last_id}";
}
is_deeply(\@got, [reverse @f], 'page by page');

$r = http('HEAD', '/v1/files?limit=10000');
is("$r->{status} $r->{body}", '200 ', 'HEAD');

my $c = BatchRaw->new;
$c->send("GET /v1/files?limit=10000 HTTP/1.0\r\n\r\n");
my $text = main::all($c);
$text =~ s/^.*?\r\n\r\n//s;
is(scalar @{ BatchTest::json_decode($text)->{data} }, 330, 'HTTP/1.0');

# deletions and creations meanwhile: what is there throughout is there once

$main::proxy->fault(on => 'file_list', late => 300);
$before = main::asked('file_list');
$c = BatchRaw->new;
$c->send("GET /v1/files?limit=10000 HTTP/1.1\r\nHost: x\r\n"
         . "Connection: close\r\n\r\n");
ok(wait_until(sub { main::asked('file_list') >= $before + 2 }, 20), 'begun');
my %gone;
for (grep { $_ % 2 } 0 .. 329) {
    redis('ZREM', '{batch}:fl:0', $f[$_]);
    redis('DEL', "{batch}:f:$f[$_]");
    $gone{$f[$_]} = 1;
}
$text = main::all($c);
$main::proxy->clear;
my @seen = map { $_->{id} }
           @{ BatchTest::json_decode(main::whole($text))->{data} };
is_deeply([grep { !$gone{$_} } @seen], [grep { !$gone{$_} } reverse @f],
          'while others are deleted');
my %n;
$n{$_}++ for @seen;
is(scalar(grep { $_ > 1 } values %n), 0, 'none is there twice');


=== TEST 2: a list that cannot be continued is cut
--- flow
main::files(330);

for my $how (['-ERR not now\r\n' => 'an error'], [undef, 'a lost connection']) {
    my ($reply, $name) = @$how;

    $main::proxy->fault(on => 'file_list', late => 300);
    my $c = BatchRaw->new;
    $c->send("GET /v1/files?limit=10000 HTTP/1.1\r\nHost: x\r\n\r\n");
    $c->fill;
    like($c->{in}, qr{^HTTP/1.1 200.*chunked}s, "$name: the answer has begun");
    $main::proxy->fault(on => 'file_list',
                  defined $reply ? (reply => "-ERR not now\r\n") : (drop => 1));
    my $text = main::all($c);
    $main::proxy->clear;
    is(main::whole($text), undef, "$name: it was cut");
    unlike($text, qr/has_more/, "$name: and does not parse");
    wait_ready();
}

# before it has begun it is an error

$main::proxy->fault(on => 'file_list', reply => "-ERR not now\r\n");
is(http('GET', '/v1/files')->{status}, 503, 'a page');
$main::proxy->clear;

# of an index that does not go on there is no end

$main::proxy->fault(on => 'file_list',
              reply => "*5\r\n:0\r\n:1\r\n*0\r\n\$1\r\nx\r\n\$1\r\n1\r\n");
is(http('GET', '/v1/files')->{status}, 503, 'an index that stands still');
$main::proxy->clear;
is(http('GET', '/v1/files')->{status}, 200, 'and goes on');


=== TEST 3: readers that are slow, lists that are large
--- flow
my $f = upload("{}\n")->{json}{id};
my @b = map { create_batch($f)->{json}{id} } 1 .. 40;
for (@b) {
    my $b = wait_batch($_);
    fail("$_: $b->{status}") if $b->{status} ne 'failed';
}
my $error = '{"code":"invalid_value","line":1,"message":"' . 'm' x 180
            . '","param":"body.model"}';
my $errors = '[' . join(',', ($error) x 1000) . ']';
for (@b) {
    my $final = redis('HGET', "{batch}:b:$_", 'final');
    $final =~ s/"errors":\s*\[.*?\]/"errors":$errors/ or die $final;
    redis('HSET', "{batch}:b:$_", 'final', $final);
}

my $n = 0;
ok(wait_until(sub {
    http('GET', "/v1/batches/$b[0]")->{status} == 200 && ++$n == 5
}, 20), 'one batch');
my $before = main::rss();
my @c = map { BatchRaw->new } 1 .. 8;
$_->send("GET /v1/batches?limit=100 HTTP/1.1\r\nHost: x\r\n"
         . "Connection: close\r\n\r\n") for @c;
$_->fill for @c;
select undef, undef, undef, 1;
my $grown = main::rss() - $before;
cmp_ok($grown, '<', 32768, '8 lists of 10 MB grow the worker by less than'
                           . " 32 MB: $grown kB");

for (@c) {
    is_deeply(main::large($_), [reverse @b], 'and all are complete');
}
$grown = main::rss() - $before;
cmp_ok($grown, '<', 32768, "nor do they afterwards: $grown kB");

# clients that go away, at any time

for my $i (1 .. 30) {
    my $c = BatchRaw->new;
    $c->send("GET /v1/batches?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n");
    select undef, undef, undef, 0.003 * $i;
    $c->abort;
}
my $c = BatchRaw->new;
$c->send("GET /v1/batches?limit=100 HTTP/1.1\r\nHost: x\r\n"
         . "Connection: close\r\n\r\n");
is_deeply(main::large($c), [reverse @b], 'the others are served');
