package BatchDeath;

# Copyright (C) the ngx_http_batch_module authors
#
# What the tests with BatchFault share: loops over the n-th call, and what must
# be true afterwards, whatever happened.

use strict;
use warnings;

use BatchTest;
use BatchFault;
use Exporter qw(import);
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(every_call refused exactly_once settle_batch all_files all_batches rebuilt
                 nothing_left no_alerts deleted
                 steadily open_files is_clean $Unusable);

# what is logged when there is no memory to make something; nothing is reported as
# damaged

our $Unusable = qr{could[ ]not[ ]be[ ]encoded|Cannot[ ]allocate[ ]memory}x;


# $code->($n) for n = 1, 2, ... with the n-th call armed, until it is not
# reached any more.  Options: what => for messages; step => only every step-th,
# beginning anywhere; and those of fault().
# Returns how many calls were met.

sub every_call {
    my ($code, %o) = @_;
    my $what = delete $o{what} // '';
    my $step = delete $o{step} // 1;
    $step = 1 if soak();
    my $first = $step > 1 ? 1 + int(rand($step)) : 1;
    my ($met, $missed, $n, %names) = (0, 0, $first);

    my $arms = delete $o{arms};

    for (;; $n += $step) {
        fault(%o, n => $arms ? 0 : $n);
        $code->($n);

        if (!fault_off()) {

            # a 503 right after a death is not the end yet

            last if ++$missed > 2;
            $n -= $step;
            next;
        }

        $met++;
        $missed = 0;
        $names{fault_name()}++;

        if ($n > 3000) {
            Test::More::fail("$what: it does not end");
            last;
        }
    }

    my $calls = join ', ', map { "$names{$_} $_" } sort keys %names;
    Test::More::diag("$what: $met of " . ($n - 1) . " calls met ($calls)")
        if $ENV{BATCH_SOAK} || $ENV{TEST_VERBOSE};
    Test::More::ok($met, "$what: calls were met");

    return $met;
}


# One kind of request, $request->() -> its answer, with each call of a class
# failing once: 200, or an error in the API's form, and the next one is good.
# %fault: as of every_call().  What is wrong.

sub refused {
    my ($what, $request, %fault) = @_;
    my @wrong;

    every_call(sub {
        my $r = $request->();

        if ($r->{status} == 200) {
            return;
        }

        if ($r->{status} !~ /^(500|503)$/) {
            push @wrong, "$what, " . fault_name() . ": $r->{status} $r->{body}";

        } elsif (ref $r->{json} ne 'HASH'
                 || ($r->{json}{error}{type} // '') ne 'server_error')
        {
            push @wrong, "$what, " . fault_name() . ": $r->{body}";
        }
    }, %fault, what => $what);

    my $r = $request->();
    push @wrong, "$what afterwards: $r->{status} $r->{body}"
        if $r->{status} != 200;

    return @wrong;
}


# Deletes the next one of the files: the answer.  404 is right only after an
# attempt that failed, which may have left its tombstone.

sub deleted {
    my ($files, $tried) = @_;
    my $id = $files->[0] or return { status => 200 };
    my $before = $tried->{$id}++;
    my $r = api('DELETE', "/v1/files/$id");

    shift @$files if $r->{status} == 200 || $r->{status} == 404;

    return $r->{status} == 404 && $before ? { status => 200 } : $r;
}


# The answer once it is neither a closed connection nor a 503.

sub steadily {
    my ($code, $seconds) = @_;
    my $r;

    wait_until(sub { $r = $code->(); $r->{status} && $r->{status} != 503 },
               $seconds // 60);

    return $r;
}


sub settle_batch {
    my ($id, $seconds) = @_;
    my $b;

    wait_until(sub {
        my $r = api('GET', "/v1/batches/$id");
        $b = $r->{json} if $r->{status} == 200;
        return $b && $b->{status} =~ /^(completed|failed|expired|cancelled)$/;
    }, $seconds // 60);

    Test::More::diag("batch $id: " . ($b ? $b->{status} : 'unknown'))
        unless $b && $b->{status} =~ /^(completed|cancelled)$/;

    return $b // {};
}


# Each of the custom_ids once, in output or error file; says what is wrong, or
# nothing.

sub exactly_once {
    my ($b, @ids) = @_;
    my (%seen, @wrong);

    for my $l (output_lines($b), error_lines($b)) {
        $seen{$l->{custom_id}}++;
    }

    for my $id (@ids) {
        my $n = delete $seen{$id} // 0;
        push @wrong, "$id: $n times" unless $n == 1;
    }

    return (@wrong, map { "$_: not asked for" } keys %seen);
}


# Redis forgets all; what is listed then comes from the disk.

sub rebuilt {
    redis('FLUSHALL');

    my $r = steadily(sub { http('GET', '/v1/files?limit=1') }, 30);
    Test::More::is($r->{status}, 200, 'the index is rebuilt');
}


# All objects of a list, page by page.

sub listed {
    my ($path) = @_;
    my (@all, $after);

    while (1) {
        my $page = api('GET', "$path?limit=100"
                              . ($after ? "&after=$after" : ''))->{json};
        push @all, @{ $page->{data} };
        last unless $page->{has_more};
        $after = $all[-1]{id};
    }

    return @all;
}

sub all_files   { return listed('/v1/files') }
sub all_batches { return listed('/v1/batches') }


# When the grace is over and nginx has swept, the store holds what is listed,
# whole, and nothing else.

sub nothing_left {
    my ($what) = @_;
    my $store = store_dir();
    my $old = time() - 4 * 86400;
    my %expected;

    for my $f (all_files()) {
        $expected{"files/" . substr($f->{id}, 5, 2) . "/$f->{id}$_"} = 1
            for '', '.json';
    }

    nginx_stop('QUIT');
    utime $old, $old, map { chomp; $_ } `find $store/tmp $store/files -type f`;
    utime $old, $old, map { chomp; $_ } `find $store/batches -type d`;
    Test::More::ok(nginx_start(), "$what: nginx starts");
    wait_ready();

    my (@extra, %missing);

    wait_until(sub {
        %missing = %expected;
        @extra = grep { !delete $missing{$_} }
                 grep { !m{/(batch|plan|cancel|final)\.json$} }
                 (leftovers('files'), leftovers('tmp'), leftovers('batches'));
        return !@extra && !%missing;
    }, 30);

    Test::More::is_deeply(\@extra, [], "$what: nothing is left over");
    Test::More::is_deeply([sort keys %missing], [], "$what: nothing is missing");
}


# Nothing that should be impossible was logged, but what the expression allows;
# a killed worker is none.

sub no_alerts {
    my ($but) = @_;
    my @bad = grep { !defined $but || !/$but/ }
              grep { !/worker process \d+ exited on signal 9/ }
              grep { /\[(alert|emerg)\]/ || /runtime error/ }
              split /\n/, error_log_text();

    Test::More::is_deeply([@bad[0 .. ($#bad > 4 ? 4 : $#bad)]], [],
                          'no alert');
}


# How many files each worker has open; as many as before, and free connections.

sub open_files {
    return { map { $_ => scalar(my @fds = glob "/proc/$_/fd/*") } nginx_workers() };
}

sub is_clean {
    my ($before, $free) = @_;

    Test::More::ok(wait_until(sub {
        my $now = open_files();
        return !grep { ($now->{$_} // 99) > $before->{$_} + 1 } keys %$before;
    }, 15), 'no descriptor is lost')
        or Test::More::diag(join ' ', %$before, 'now', %{ open_files() });

    Test::More::ok(wait_until(sub {
        api('GET', '/batch-status')->{json}{connections_free} >= $free - 2;
    }, 15), 'no connection is lost');
}


1;
