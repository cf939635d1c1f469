# Lines of many megabytes: the limit, what of them is in memory at a time, and
# what becomes of batches that were validated under another limit.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $Asan = ($ENV{TEST_NGINX_BINARY} // '') =~ /asan/;

# a line of exactly so many bytes, without its newline

sub line {
    my ($id, $size, %body) = @_;
    my $json = json_encode({ custom_id => "$id", method => 'POST',
                             url => '/v1/chat/completions',
                             body => { model => 'm', x => '', %body,
                                       messages => [] } });
    my $more = $size - length $json;

    $json =~ s/"x":""/'"x":"' . 'a' x $more . '"'/e or die;

    return $json;
}

sub ids {
    my ($b) = @_;

    return $b->{output_file_id}
           ? join ' ', content($b->{output_file_id})
                           =~ /"custom_id": "([^"]+)"/g
           : '';
}

# the largest resident set that a worker ever had, in MB

sub peak {
    my ($most) = sort { $b <=> $a }
                 map { slurp("/proc/$_/status") =~ /VmHWM:\s+(\d+)/; $1 }
                 nginx_workers();

    return $most / 1024;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: at the limit, and a byte above it
--- api_config
    batch_max_line_size 100000;
--- flow
for my $end ("\n", "\r\n", '') {
    # a CR is a byte of the line

    my $size = 100000 - ($end eq "\r\n" ? 1 : 0);
    my $b = run_batch(main::line(a => $size - 1) . "\n"
                      . main::line(b => $size) . $end);
    is(main::ids($b), 'a b', 'as long as may be');

    $b = run_batch(main::line(a => $size + 1) . $end);
    is($b->{status}, 'failed', 'a byte more');
    my $e = $b->{errors}{data}[0];
    is($e->{code}, 'invalid_json_line', 'code');
    is($e->{line}, 1, 'line');
    is($e->{message}, 'This line is too long: the maximum is 100000 bytes.',
       'and what would be right');
}

my $b = run_batch(main::line(a => 90) . "\n" . main::line(b => 300000) . "\n"
                  . main::line(c => 90) . "\nx\n");
is_deeply([map { $_->{line} } @{ $b->{errors}{data} }], [2, 4],
          'the lines around it are looked at');


=== TEST 2: 32 MB by default
--- flow
my $max = 32 * 1024 * 1024;
my $b = run_batch(main::line(a => $max) . "\n" . main::line(b => 100) . "\n",
                  timeout => 60);
is(main::ids($b), 'a b', 'the longest one');
$b = run_batch(main::line(a => $max + 1) . "\n", timeout => 60);
is($b->{errors}{data}[0]{message},
   "This line is too long: the maximum is $max bytes.", 'a byte more');


=== TEST 3: what was validated runs, and ends, under a lower limit
--- api_config
    batch_max_line_size 300000;
--- flow
my $b = create_batch(upload(join "\n", main::line(a => 250000, mock => 'slow=2000'),
                            map { main::line($_ => 250000) } 'b' .. 'e')
                     ->{json}{id})->{json};
ok(wait_until(sub { get_batch($b->{id})->{status} eq 'in_progress' }, 20),
   'validated');
my $conf = test_dir() . '/servroot/conf/nginx.conf';
my $text = slurp($conf);
$text =~ s/batch_max_line_size 300000/batch_max_line_size 2000/ or die;
open my $o, '>', $conf; print $o $text; close $o;
kill 'HUP', nginx_pid();
$b = wait_batch($b->{id}, timeout => 60);
is(main::ids($b), 'a b c d e', 'all of it');


=== TEST 4: many large lines: some at a time, none is lost
--- concurrency
32
--- flow
# two batches, so two windows; small lines pass the large ones

my @large = map { upload(join "\n", map { main::line($_ => 20e6, mock => 'slow=20') }
                              1 .. 6)->{json}{id} } 1 .. 2;
my @b = map { create_batch($_)->{json}{id} } @large;
my $small = run_batch(jsonl(200), timeout => 60);
is($small->{request_counts}{completed}, 200, 'a batch of small ones beside them');

for (@b) {
    my $b = wait_batch($_, timeout => 120);
    is(main::ids($b), '1 2 3 4 5 6', 'a batch of large ones')
        or diag(json_encode($b));
}

# 64 MB of lines, a window, what validation and nginx have of one

my $peak = main::peak();
diag("peak: $peak MB") if $ENV{BATCH_SOAK};
cmp_ok($peak, '<', 220, 'memory is bounded') unless $main::Asan;


=== TEST 5: a killed worker's large lines are another one's
--- concurrency
4
--- flow
my $id = create_batch(upload(join "\n", map { main::line($_ => 20e6,
                                                         mock => 'slow=300') }
                             1 .. 5)->{json}{id})->{json}{id};
ok(wait_until(sub { mock_stats()->{requests} >= 2 }, 30), 'it runs');
my @before = nginx_workers();
kill 'KILL', @before;
ok(wait_until(sub { my @now = nginx_workers(); my %was = map { $_ => 1 } @before;
                    @now == @before && !grep { $was{$_} } @now }, 20),
   'new workers');
my $b = wait_batch($id, timeout => 120);
is(main::ids($b), '1 2 3 4 5', 'each once');
--- no_error_log
[crit]


=== TEST 6: what the directive takes
--- api_config
    batch_max_line_size 1023;
--- must_die
--- error_log
"batch_max_line_size" must be between 1k and 1g
