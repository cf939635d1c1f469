package BatchAlive;

# Copyright (C) the ngx_http_batch_module authors
#
# What the tests of takeovers share: the files that say which workers live, and
# leases that never run out by themselves.

use strict;
use warnings;

use BatchTest;
use Exporter qw(import);
use Test::More ();

our @EXPORT = qw(entries entry decoy looked holders refresh told died_all);

our $made = 0;


# Ids of the workers that have a file; its path.

sub entries {
    return sort map { m{/([0-9a-f]{32})$} ? $1 : () }
                glob store_dir() . '/workers/*';
}

sub entry { return store_dir() . "/workers/$_[0]" }


# A worker that is dead, by its file.  Its machine is that of a living one unless
# it is given.  Returns its id.

sub decoy {
    my ($machine) = @_;
    my $id = sprintf '%032x', 0xdead0000 + $made++;

    $machine //= slurp(entry((entries())[0]));

    # made as workers do: whole, then with its name

    my $tmp = test_dir() . "/$id";
    open my $f, '>', $tmp or die "$tmp: $!\n";
    print $f $machine;
    close $f;
    chmod 0644, $tmp;
    rename $tmp, entry($id) or die "$id: $!\n";

    return $id;
}


# The others have been looked at, since now, and all who were found dead have
# been buried: decoys are found, two as the first may be found by a look that
# had passed the rest.

sub looked {
    for (1, 2) {
        my $id = decoy();
        Test::More::ok(wait_until(sub { !-e entry($id) }, 30), 'a look');
    }
}


# owner => how many leases of chunks it has, of all batches

sub holders {
    my %owners;

    for my $key (@{ redis('KEYS', '{batch}:l:*') }) {
        my $c = $key =~ s/:l:/:c:/r;

        for my $chunk (@{ redis('ZRANGEBYSCORE', $key, '(0', '+inf') }) {
            my $s = redis('HGET', $c, $chunk) // next;
            $owners{(split /:/, $s)[1]}++;
        }
    }

    return \%owners;
}


# What these owners hold, and was not taken from them, is theirs for as long as
# a lease lasts from now on: as if they had renewed it.

our $lua = <<'EOL';
    local t = redis.call('TIME')
    local till = tonumber(t[1]) * 1000 + 10000
    local n = 0

    for _, key in ipairs(redis.call('KEYS', '{batch}:l:*')) do
        local c = string.gsub(key, ':l:', ':c:', 1)

        for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', key, '(0', '+inf'))
        do
            local s = redis.call('HGET', c, chunk) or ''
            local owner = string.match(s, '^%d+:([^:]*):')

            for _, mine in ipairs(ARGV) do
                if owner == mine then
                    redis.call('ZADD', key, string.format('%.0f', till), chunk)
                    n = n + 1
                end
            end
        end
    end

    return n
EOL

sub refresh { return redis('EVAL', $lua, 0, @_) }


# Who was told to be dead, in this log or the test's own nginx's.

sub told {
    my $text = shift // error_log_text();

    return { map { $_ => 1 } $text =~ /worker (\w+) has died/g };
}


# Each of them was, and has no file any more.  What they held was freed, not
# left to run out: it is renewed all the time.  $log->(): a log to look at.

sub died_all {
    my ($what, $dead, $log) = @_;

    Test::More::ok(wait_until(sub {
        my $left = refresh(@$dead);
        my $told = told($log ? $log->() : undef);
        return !$left && !grep { !$told->{$_} || -e entry($_) } @$dead;
    }, 60), "$what: all that they held is free") or Test::More::diag(
        "told: @{[ sort keys %{ told($log ? $log->() : undef) } ]}",
        "dead: @$dead, files: @{[ entries() ]}, leases: " . refresh(@$dead));
}


1;
