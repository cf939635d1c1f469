# What an operator meets in the first hour: settings that are missing or too
# small are named, with what to write.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

sub change {
    my ($from, $to) = @_;
    my $conf = test_dir() . '/servroot/conf/nginx.conf';
    my $text = slurp($conf);

    $text =~ s/$from/$to/ or die "no $from";
    open my $out, '>', $conf or die "$conf: $!";
    print $out $text;
    close $out;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: uploads are refused by client_max_body_size
--- config
    location ~ ^/v1/(files|uploads|batches) {
        batch_api;
        batch_pass /batch-lines;
    }
    location /batch-lines/ { internal; proxy_pass http://inference/;
                             client_max_body_size 0; }
    location = /up { return 200 "up\n"; }
--- flow
my @said = grep { /client_max_body_size/ } split /\n/, error_log_text();
is(scalar @said, 1, 'said once');
like($said[0], qr/\[warn\] .*"client_max_body_size" allows only \d+ bytes in location/,
     'what is wrong');
like($said[0], qr/add "client_max_body_size 0;" to it/, 'and what to do');


=== TEST 2: not if it is as large as the largest file
--- config
    location ~ ^/v1/(files|uploads|batches) {
        client_max_body_size 201m;
        batch_api;
        batch_pass /batch-lines;
    }
    location /batch-lines/ { internal; proxy_pass http://inference/;
                             client_max_body_size 0; }
    location = /up { return 200 "up\n"; }
--- no_error_log
client_max_body_size
--- flow
is(http('GET', '/up')->{status}, 200, 'up');


=== TEST 3: a Redis as Debian installs it: advice, once, also over reloads
--- flow
redis('CONFIG', 'SET', 'appendonly', 'no');
ok(nginx_stop('QUIT') && nginx_start(), 'started anew');
ok(wait_until(sub { error_log_text() =~ /keeps no append-only file/ }, 20),
   'it is said');

for (1, 2) {
    my @before = nginx_workers();
    my $ready = () = error_log_text() =~ /is ready$/mg;

    kill 'HUP', nginx_pid();
    ok(wait_until(sub { my %is = map { $_ => 1 } nginx_workers();
                        !grep { $is{$_} } @before }, 20), 'reloaded');
    ok(wait_until(sub { (() = error_log_text() =~ /is ready$/mg)
                        >= $ready + 2 }, 20), 'connected');
    is(run_batch(jsonl(2))->{status}, 'completed', 'a batch');
}

my @said = grep { /append-only/ } split /\n/, error_log_text();
is(scalar @said, 1, 'once');
like($said[0], qr/\[warn\] .*run "redis-cli config set appendonly yes" and /,
     'what to do');
like($said[0], qr/ and "redis-cli config rewrite"/, 'so that it stays');
redis('CONFIG', 'SET', 'appendonly', 'yes');


=== TEST 4: connections for not even one line
--- flow
main::change(qr/worker_connections\s+\d+/, 'worker_connections 18');
ok(nginx_stop('QUIT') && nginx_start(), 'started anew');
ok(wait_until(sub { wait_ready() }, 20), 'ready');
my $b = create_batch(upload(jsonl(3))->{json}{id})->{json};
ok(wait_until(sub { error_log_text() =~ /no line can start/ }, 20), 'said');
like(error_log_text(), qr/\[error\] .*no line can start, \d+ of 18 worker_conn/,
     'what there is');
like(error_log_text(), qr/kept for clients, increase worker_connections/,
     'and what to do');
main::change(qr/worker_connections 18/, 'worker_connections 128');
ok(nginx_stop('QUIT') && nginx_start(), 'with more');
is(wait_batch($b->{id})->{status}, 'completed', 'it runs');
