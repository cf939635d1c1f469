# Many lines, and a large file: complete, in order, and without workers that
# grow with it.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $Asan = ($ENV{TEST_NGINX_BINARY} // '') =~ /asan/;

# $n lines of about $size bytes, written to a file

sub input {
    my ($n, $size) = @_;
    my $name = test_dir() . '/input.jsonl';
    my $text = substr 'The quick brown fox jumps over it. ' x 200, 0, $size;

    open my $out, '>', $name or die "$name: $!";

    for my $i (1 .. $n) {
        print $out '{"custom_id":"r-', $i, '","method":"POST",',
                   '"url":"/v1/chat/completions","body":{"model":"m1",',
                   '"messages":[{"role":"user","content":"', $text, ' ', $i,
                   '"}]}}', "\n";
    }

    close $out or die "$name: $!";

    return $name;
}

# as a client does it that streams a file

sub send_file {
    my ($name) = @_;
    my $port = server_port();
    my $json = `curl -s -F purpose=batch -F file=\@$name http://127.0.0.1:$port/v1/files`;

    return json_decode($json)->{id};
}

# the largest resident set that each worker ever had, in KB

sub peaks {
    return map { slurp("/proc/$_/status") =~ /VmHWM:\s+(\d+)/; $1 }
           nginx_workers();
}

# the custom_ids of a file of results are r-1, r-2, ... r-n

sub in_order {
    my ($id, $n) = @_;
    my $port = server_port();
    my $name = test_dir() . '/output.jsonl';
    my $i = 0;

    system('curl', '-s', '-o', $name,
           "http://127.0.0.1:$port/v1/files/$id/content") == 0 or return;

    open my $in, '<', $name or return;

    while (my $line = <$in>) {
        $i++;
        return unless $line =~ /"custom_id": "r-(\d+)"/ && $1 == $i;
    }

    unlink $name;

    return $i == $n;
}

run_tests();

__DATA__

=== TEST 1: 50,000 lines over two workers
--- concurrency: 64
--- flow
my $file = send_file(input(50_000, 400));
my $batch = create_batch($file)->{json};

$batch = wait_batch($batch->{id}, timeout => 200);

is($batch->{status}, 'completed', 'status');
is_deeply($batch->{request_counts},
          { total => 50_000, completed => 50_000, failed => 0 }, 'counts');
ok(in_order($batch->{output_file_id}, 50_000),
   'each custom_id once, in the order of the input');

my $status = api('GET', '/batch-status')->{json};
is((grep { $_->{completed} > 0 } @{ $status->{processes} }) + 0, 2,
   'both workers have run lines');
is($status->{completed}, 50_000, 'and all of them');



=== TEST 2: 200 MB
--- concurrency: 64
--- flow
my $name = input(48_000, 4_050);
cmp_ok(-s $name, '>', 196_000_000, 'input');

my $before = (sort { $b <=> $a } peaks())[0];
my $batch = create_batch(send_file($name))->{json};

$batch = wait_batch($batch->{id}, timeout => 200);
is($batch->{status}, 'completed', 'status');
is($batch->{request_counts}{completed}, 48_000, 'counts');
ok(in_order($batch->{output_file_id}, 48_000), 'in order');

my $after = (sort { $b <=> $a } peaks())[0];

if ($main::Asan) {
    pass('memory is not looked at with sanitizers');
} else {
    cmp_ok($after - $before, '<', 32 * 1024, 'no worker grew by 32 MB');
}

unlink $name;
