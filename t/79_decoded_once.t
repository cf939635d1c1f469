# What a batch is made of is read from the disk and decoded once, in a thread,
# and handed on: the opens of batch.json and final.json, and the calls of the
# JSON library that are given them, are counted in one worker while nobody asks
# for the batch.  The text of batch.json is decoded once more, before it is
# published: what cannot be read again is not.

use strict;
use warnings;

use lib 't/lib';

use BatchTest;

BEGIN {
    # the sanitizers' runtime wants to be the first library there is

    if (($ENV{TEST_NGINX_BINARY} // '') =~ /asan/) {
        Test::More::plan(skip_all => 'not with sanitizers: the plain run'
                                     . ' counts the same code');
    }

    my $so = test_dir() . '/decoded.so';

    system($ENV{CC} || 'cc', '-shared', '-fPIC', '-o', $so,
           't/lib/decoded.c', '-ldl') == 0
        or die "t/lib/decoded.c does not compile\n";

    $ENV{DECODED_LOG} = test_dir() . '/decoded.log';

    open my $log, '>', $ENV{DECODED_LOG} or die;
    close $log;
    chmod 0666, $ENV{DECODED_LOG};

    $Test::Nginx::Util::ld_preload = $ENV{LD_PRELOAD} = $so;
}

use Test::Nginx::Socket 'no_plan';

workers(1);

# Creates a batch of a file, waits until the index has its end, and returns how
# often what was done meanwhile: "open batch.json thread" => n.  The request of
# the creation itself, which decodes what it answers, is not counted.

sub life {
    my ($content) = @_;

    my $file = upload($content)->{json}{id};

    # what was left of the last one

    sleep 1;
    truncate $ENV{DECODED_LOG}, 0;

    my $id = create_batch($file)->{json}{id};

    ok(wait_until(sub {
        (redis('HGET', "{batch}:b:$id", 'status') // '')
            =~ /^(completed|failed)$/
    }, 20), 'ended');

    my %n;
    $n{$_}++ for split /\n/, slurp($ENV{DECODED_LOG});

    Test::More::diag(join ', ', map { "$_: $n{$_}" } sort keys %n)
        if $ENV{TEST_VERBOSE};

    return \%n;
}

run_tests();

__DATA__

=== TEST 1: a small batch, which ends without a segment
--- main_config
env DECODED_LOG;
--- flow
my $n = life(jsonl(20));

is($n->{'open batch.json thread'}, 1, 'opened once');
is($n->{'decode batch.json thread'}, 2, 'read back, then decoded once');
is($n->{'decode final.json loop'} // 0, 0, 'the event loop parses no result');



=== TEST 2: a batch of segments and seals
--- main_config
env DECODED_LOG;
--- flow
my $n = life(jsonl(1500));

is($n->{'open batch.json thread'}, 1, 'opened once');
is($n->{'decode batch.json thread'}, 2, 'read back, then decoded once');
is($n->{'decode final.json loop'} // 0, 0, 'the event loop parses no result');



=== TEST 3: a batch that is not valid
--- main_config
env DECODED_LOG;
--- flow
my $n = life(jsonl(1) . jsonl(1));

is($n->{'open batch.json thread'}, 1, 'opened once');
is($n->{'decode batch.json thread'}, 2, 'read back, then decoded once');
is($n->{'decode final.json loop'} // 0, 0, 'the event loop parses no result');
