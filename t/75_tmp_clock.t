# What is in tmp/ is swept a day after it was touched last; but the clock may be
# set, and then what is being written must stay.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchClock;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

no_long_string();
run_tests();

__DATA__

=== TEST 1: the clock goes forth by more than a day while a file is uploaded
--- main_config
worker_shutdown_timeout 60s;
--- api_config
    client_body_buffer_size 16k;
--- flow
my $data = jsonl(20000);
my $dir = store_dir();
my ($body, $type) = multipart(purpose => 'batch',
                              file => { filename => 'a.jsonl', data => $data });
my $half = int(length($body) / 2);
my @tmp;

my $c = BatchRaw->new;
$c->send("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Type: $type\r\n"
         . 'Content-Length: ' . length($body) . "\r\n\r\n"
         . substr $body, 0, $half);
ok(wait_until(sub { grep { -s } @tmp = glob "$dir/tmp/*" }, 20),
   'half of it is there');

# what a dead worker has left, by which one can tell that tmp/ was swept

open my $out, '>', "$dir/tmp/left" or die "$dir/tmp/left: $!";
close $out;

clock_step(3 * 86400);
kill 'HUP', nginx_pid();

ok(wait_until(sub { !-e "$dir/tmp/left" }, 60), 'what nobody has open is swept');
ok(-e $tmp[0], 'what is being written is not');

$c->send(substr $body, $half);
my $r = $c->answer;
is($r->{status}, 200, 'the upload ends well') or diag($r->{body});
wait_ready();
ok((content($r->{json}{id}) // '') eq $data, 'with every byte');
ok(wait_until(sub { !glob "$dir/tmp/*" }, 20), 'and tmp/ is empty');
