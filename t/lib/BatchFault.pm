package BatchFault;

# Copyright (C) the ngx_http_batch_module authors
#
# The n-th call of the module fails: t/lib/fault.c, and orders to it.  To be
# used between BatchTest and Test::Nginx::Socket:
#
#     use lib 't/lib';
#     use BatchTest;
#     use BatchFault;
#     use Test::Nginx::Socket 'no_plan';
#
# In a flow:
#
#     fault(n => 3, action => 'fail', errno => 'EIO');
#     ... what is to meet it ...
#     my $met = fault_off();      # 0: the n-th call was never reached
#
#     fault_space(0);             # the filesystem says it has no byte left
#     fault_space();              # what is true
#
# With sanitizers the file is skipped: their runtime wants to be the first
# library there is.

use strict;
use warnings;

use BatchTest;
use Errno ();
use Exporter qw(import);
use Test::More ();

our @EXPORT = qw(fault fault_off fault_count fault_met fault_name fault_resynced
                 fault_space soak leftovers);

our %Action = (fail => 1, short => 2, kill_before => 3, kill_after => 4,
               slow => 5, hold => 6);
our %Class = (changes => 1, reads => 2, disk => 3, memory => 4, opens => 16,
              workers => 32);

our %Where = (all => 0, threads => 1, events => 2);

our $File = test_dir() . '/fault.ctl';


BEGIN {
    if (($ENV{TEST_NGINX_BINARY} // '') =~ /asan/) {
        Test::More::plan(skip_all => 'not with sanitizers, which must be'
                                     . ' the first library');
    }
}


sub words {
    my ($at, @words) = @_;

    open my $f, '+<:raw', $File or die "$File: $!\n";
    sysseek $f, $at * 8, 0;
    syswrite $f, pack('Q*', @words);
    close $f;
}


sub word {
    my ($at) = @_;

    open my $f, '<:raw', $File or die "$File: $!\n";
    sysseek $f, $at * 8, 0;
    sysread $f, my $data, 8;
    close $f;

    return unpack 'Q', $data;
}


# n: which call, 0 only counts; action: fail, short, kill_before, kill_after,
# slow, hold (it waits for the next order, or fault_off(); a minute at most);
# errno of a failure, EIO; ms that a slow call takes longer; class: changes (of
# the disk), reads, disk (both), memory, opens (of files and sockets), workers
# (which of them live, and each lock); sticky => 1: also every later one; where:
# threads or events, only their calls count; call: only those of this name.

sub fault {
    my (%o) = @_;
    my $action = $Action{$o{action} // 'fail'} or die "fault: no such action\n";
    my $class = $Class{$o{class} // 'changes'} or die "fault: no such class\n";
    my $where = $Where{$o{where} // 'all'} // die "fault: no such place\n";
    my $err = $o{ms} // Errno->can($o{errno} // 'EIO')->();

    words(0, 0);
    words(16, $where, unpack 'Q4', pack 'a32', $o{call} // '');
    words(1, $o{n}, $action, $err, $o{sticky} ? 1 : 0, 0, 0);
    words(0, $class);
}


sub fault_off {
    words(0, 0);

    return word(6);
}


sub fault_count    { return word(5) }
sub fault_met      { return word(6) }       # how often, so far
sub fault_resynced { return word(7) }


sub fault_name {
    open my $f, '<:raw', $File or die "$File: $!\n";
    sysseek $f, 96, 0;
    sysread $f, my $data, 32;
    close $f;

    return unpack 'Z32', $data;
}


sub fault_space {
    my ($bytes, $inodes) = @_;

    words(8, defined $bytes ? 1 : 0, $bytes // 0, $inodes // 1_000_000);
}


# The numbers of calls to try: all of them in a soak, else some: the first
# ones, then every step-th, from a place that differs from run to run.

sub soak { return $ENV{BATCH_SOAK} ? 1 : 0 }


# What is in the store, without the names of the shards.

sub leftovers {
    my ($dir) = @_;
    my $store = store_dir();

    return sort map { chomp; s{^\Q$store\E/}{}; $_ }
                `find $store/$dir -type f`;
}


sub setup {
    my $so = test_dir() . '/fault.so';

    system($ENV{CC} || 'cc', '-O1', '-shared', '-fPIC', '-Wall', '-Wextra',
           '-Werror', '-o', $so, 't/lib/fault.c', '-ldl') == 0
        or die "t/lib/fault.c does not compile\n";

    open my $f, '>:raw', $File or die "$File: $!\n";
    print $f "\0" x 4096;
    close $f;
    chmod 0666, $File;

    $ENV{FAULT_FILE} = $File;
    $Test::Nginx::Util::ld_preload = $ENV{LD_PRELOAD} = $so;
}


setup();

1;
