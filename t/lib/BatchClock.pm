package BatchClock;

# Copyright (C) the ngx_http_batch_module authors
#
# The clocks of nginx and Redis, to be moved while they run.  To be used after
# BatchTest and before Test::Nginx::Socket:
#
#     clock_step(3600);     an hour later; negative: set back
#     clock_set(0);         as it is in truth, as at the begin of each flow
#     clock_now()           seconds, as nginx and Redis have it
#
# That is the wall clock.  Timers, time-outs and the renewal of leases go by the
# monotonic one, which only goes forward:
#
#     timers_pass(30000);   ms: what is due by then happens now
#     timers_between($t1, $t2)   ms by the timers' clock between two moments,
#                           in real ms since the epoch, as in the mock's log
#
# The times of files do not move.

use strict;
use warnings;

use BatchTest;
use Exporter qw(import);
use Time::HiRes ();

our @EXPORT = qw(clock_step clock_set clock_now timers_pass timers_between);

my $offset = 0;
my $ahead = 0;
my @passes;                      # [real ms since the epoch, ms]
my $file;


sub move {
    open my $out, '+<', $file or die "$file: $!\n";
    syswrite $out, pack 'q2', $offset, $ahead;
    close $out;
}


sub clock_set {
    ($offset) = @_;
    move();
}


sub clock_step { clock_set($offset + $_[0]) }
sub clock_now  { return Time::HiRes::time() + $offset }


sub timers_pass {
    my ($ms) = @_;

    push @passes, [Time::HiRes::time() * 1000, $ms];
    $ahead += $ms;
    move();
}


# A pass counts if it began in between, so the result is rather too large for
# a pass that began right before $t2 and was not seen any more.

sub timers_between {
    my ($t1, $t2) = @_;
    my $ms = $t2 - $t1;

    for (@passes) {
        $ms += $_->[1] if $_->[0] > $t1 && $_->[0] <= $t2;
    }

    return $ms;
}


sub setup {
    # the sanitizers' runtime wants to be the first library there is

    if (($ENV{TEST_NGINX_BINARY} // '') =~ /asan/) {
        Test::More::plan(skip_all => 'the clock cannot be moved with'
                                     . ' sanitizers');
    }

    my $so = test_dir() . '/clock.so';

    $file = test_dir() . '/clock';

    open my $out, '>', $file or die "$file: $!\n";
    syswrite $out, pack 'q2', 0, 0;
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
