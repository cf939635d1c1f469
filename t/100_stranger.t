# Where two features meet, as strangers would try them.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

sub page {
    my ($what, $query, @http) = @_;
    my $r = api('GET', "/v1/$what?$query", undef, @http);
    Test::More::is($r->{status}, 200, "$what?$query");
    return $r->{json};
}

sub ids { return [map { $_->{id} } @{ $_[0]{data} }] }

run_tests();

__DATA__

=== TEST 1: who deletes what a page shows gets the next page
--- api_config
batch_tenant $http_x_tenant;
--- flow
my @me = (headers => ['X-Tenant' => 'me']);
my @you = (headers => ['X-Tenant' => 'you']);

for my $order ('asc', 'desc') {
    my @f = map { upload(jsonl(1), @me)->{json}{id} } 1 .. 10;
    @f = reverse @f if $order eq 'desc';

    # as SDKs do: the page, then what is behind its last object

    my ($after, @seen) = ('');
    for (1 .. 9) {
        my $p = main::page('files', "limit=3&order=$order$after", @me);
        push @seen, @{ main::ids($p) };
        api('DELETE', "/v1/files/$_", undef, @me) for @{ main::ids($p) };
        last unless $p->{has_more};
        $after = "&after=$p->{last_id}";
    }
    is_deeply(\@seen, \@f, "$order: each once, all of them");
}

my ($first, $gone, @rest) = map { upload(jsonl(1), @me)->{json}{id} } 1 .. 4;
upload(jsonl(1), @you);

for (1, 2) {
    api('DELETE', "/v1/files/$gone", undef, @me);
    is_deeply(main::ids(main::page('files', "order=asc&after=$gone", @me)),
              \@rest, "deleted $_ times: behind it");
}
is_deeply(main::ids(main::page('files', "after=$gone", @me)), [$first],
          'the other way');
is_deeply(main::ids(main::page('files', "after=$gone&purpose=batch", @me)),
          [$first], 'of its purpose');
is_deeply(main::ids(main::page('files', "after=$gone", @you)), [],
          "another tenant's cursor is an unknown one");

# an index that was made anew knows no more of it

redis('FLUSHALL');
wait_ready();
is_deeply(main::ids(main::page('files', "after=$gone", @me)), [],
          'without an index: an unknown one');


=== TEST 2: a page behind a batch that has gone
--- api_config
batch_quota ended=4;
--- flow
my $f = upload("{}\n")->{json}{id};
my @b = map { my $b = create_batch($f)->{json}{id}; wait_batch($b); $b } 1 .. 9;
my $left;
ok(wait_until(sub { @{ $left = main::ids(main::page('batches', '')) } == 4 },
              30), 'four are left');

# whatever is gone: behind it is what was made before it, and is left

my %left = map { $_ => 1 } @$left;

for my $i (0 .. $#b) {
    my $p = main::page('batches', "limit=100&after=$b[$i]");
    is_deeply(main::ids($p), [grep { $left{$_} } reverse @b[0 .. $i - 1]],
              "behind $i, which is " . ($left{$b[$i]} ? 'there' : 'gone'));
}
