package BatchClock;

# Copyright (C) the ngx_http_batch_module authors
#
# The wall clock of nginx and Redis, to be moved while they run.  To be used
# after BatchTest and before Test::Nginx::Socket:
#
#     clock_step(3600);     an hour later; negative: set back
#     clock_set(0);         as it is in truth, as at the begin of each flow
#     clock_now()           seconds, as nginx and Redis have it
#
# Timers, time-outs and leases' renewal go by the monotonic clock, which does
# not move; nor do the times of files.

use strict;
use warnings;

use BatchTest;
use Exporter qw(import);
use Time::HiRes ();

our @EXPORT = qw(clock_step clock_set clock_now);

my $offset = 0;
my $file;


sub clock_set {
    ($offset) = @_;

    open my $out, '+<', $file or die "$file: $!\n";
    syswrite $out, pack 'q', $offset;
    close $out;
}


sub clock_step { clock_set($offset + $_[0]) }
sub clock_now  { return Time::HiRes::time() + $offset }


sub setup {
    # the sanitizers' runtime wants to be the first library there is

    if (($ENV{TEST_NGINX_BINARY} // '') =~ /asan/) {
        Test::More::plan(skip_all => 'the clock cannot be moved with'
                                     . ' sanitizers');
    }

    my $so = test_dir() . '/clock.so';

    $file = test_dir() . '/clock';

    open my $out, '>', $file or die "$file: $!\n";
    syswrite $out, pack 'q', 0;
    close $out;

    system($ENV{CC} || 'cc', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC',
           '-o', $so, 't/lib/clock.c') == 0
        or die "t/lib/clock.c does not compile\n";

    $ENV{BATCH_CLOCK} = $file;
    $Test::Nginx::Util::ld_preload = $ENV{LD_PRELOAD} = $so;

    # Redis, too

    $BatchTest::Preload{redis} = $so;
    redis_stop();
    redis_start();

    # each flow begins in the present, and ends there for what comes next

    Test::Nginx::Util::add_block_preprocessor(sub {
        my ($block) = @_;

        $block->set_value(flow => 'BatchClock::clock_set(0); '
                                  . $block->flow
                                  . "\n;BatchClock::clock_set(0);")
            if defined $block->flow;
    });
}

setup();

1;
