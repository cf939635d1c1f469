#!/usr/bin/perl

# The scripts of the index on a private server: the state machine of a batch as
# its index keeps it.  Needs redis-server (or valkey-server) and core Perl.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(sleep time);

use lib dirname(abs_path(__FILE__)) . '/../lib';
use BatchLua;

my ($server) = grep { -x } map { my $d = $_; map { "$d/$_" }
               qw(redis-server valkey-server) } split /:/, $ENV{PATH};

plan skip_all => 'no redis-server' unless $server;

my $dir = tempdir('batch-lua-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $root = dirname(abs_path($0)) . '/../..';
my $owner = $$;
my ($pid, $sock);

END {
    if (defined $owner && $owner == $$ && $pid) {
        my $status = $?;
        kill 'KILL', $pid;
        waitpid $pid, 0;
        $? = $status;
    }
}

$pid = fork() // die "fork: $!";

if ($pid == 0) {
    open STDOUT, '>', "$dir/log";
    open STDERR, '>&', \*STDOUT;
    chdir $dir;
    exec $server, '--port', 0, '--unixsocket', "$dir/s", '--save', '',
         '--appendonly', 'no';
    die "exec: $!";
}

for (1 .. 200) {
    last if $sock = IO::Socket::UNIX->new(Peer => "$dir/s");
    sleep 0.05;
}

die "no server" unless $sock;


# --- a client: errors come back as a string "ERR ..." behind a '-'

sub reply {
    my $line = <$sock> // die 'server went away';
    $line =~ s/\r\n\z//;
    my ($type, $rest) = (substr($line, 0, 1), substr($line, 1));

    return "-$rest" if $type eq '-';
    return $rest if $type eq '+' || $type eq ':';
    return undef if $rest < 0;

    if ($type eq '$') {
        read $sock, my $data, $rest + 2;
        return substr $data, 0, $rest;
    }

    return [map { reply() } 1 .. $rest];
}

sub redis {
    print $sock '*' . @_ . "\r\n",
          map { '$' . length($_) . "\r\n$_\r\n" } @_;
    $sock->flush;
    return reply();
}

sub slurp {
    my ($file) = glob "$root/src/*/$_[0]";
    open my $fh, '<', $file // die("no $_[0]") or die "$file: $!";
    return do { local $/; <$fh> };
}

# a part of the prelude

sub part {
    my ($name) = @_;

    slurp('prelude.lua') =~ /^--#part \Q$name\E\n(.*?)(?=^--#part|\z)/ms
        or die "no part $name";
    return $1;
}

my (%sha, %text);

%text = BatchLua::scripts();
is_deeply [sort keys %text], [sort(BatchLua::names())], 'all scripts are there';

for my $name (sort keys %text) {
    my $source = slurp("$name.lua");

    like $source, qr/^-- in: /m, "$name says what comes in";
    like $source, qr/^-- out: /m, "$name says what goes out";

    unlike $source, qr/'H(?:M?SET|SETNX)'[^)]*'status'/,
        "$name leaves the status to the prelude";

    for my $part (map { split } $source =~ /^--#include (.*)/mg) {
        my @own = part($part) =~ /^local (?:function )?(\w+)/mg;

        ok((grep { $text{$name} =~ /\b$_\b.*\b$_\b/s } @own),
           "$name uses its part $part");
    }

    $sha{$name} = redis('SCRIPT', 'LOAD', $text{$name});
    like $sha{$name}, qr/^[0-9a-f]{40}$/, "$name compiles";
}

sub run {
    my ($name, $keys, @args) = @_;
    return redis('EVALSHA', $sha{$name} // die("no $name"), scalar @$keys,
                 (map { "{t}:$_" } @$keys), @args);
}


# --- calls as the C side makes them

my $LEASE = 60000;
my @view;        # the fields of a view

sub put {
    my ($b, %o) = @_;
    return run('batch_put', ['gen:s', "b:$b", 'bl:0', 'active', 'ub:0',
                             'ubh:0', "bd:$b"],
               $o{check} // 1, $b, "meta-$b", $o{us} // 1763645912345678,
               $o{expires} // 0);
}

sub claim {
    my ($b, $who, $nonce, $lease, $clock, $jobs) = @_;
    my $r = run('claim', ['gen:s', "b:$b", "c:$b", "l:$b", 'active'], $b, $who,
                $nonce, $lease // $LEASE, $clock // 0, $jobs // 1);
    return $r unless ref $r && @$r > 1;

    return {what => $r->[1], chunk => $r->[2], epoch => $r->[3],
            status => $r->[4], cancelling_at => $r->[5],
            finalizing_at => $r->[6], expired => $r->[7]};
}

sub brief {
    my $c = claim(@_);
    return ref $c eq 'HASH' ? join ' ', @$c{qw(what chunk epoch status)} : $c;
}

sub planned {
    my ($b, $total, $chunks) = @_;
    return run('planned', ["b:$b", 'ub:0'], $total, $chunks, 'model',
               1763645913, $b);
}

sub chunk {
    my ($b, $n, $epoch, $what, $ok, $failed, $lease, $sealed) = @_;
    return run('chunk', ['gen:s', "b:$b", "c:$b", "l:$b"], $n, $epoch, $what,
               $ok // 0, $failed // 0, $lease // $LEASE,
               $sealed // ($what eq 'done' ? int(time()) : 0));
}

sub again   { run('chunk_redo', ["b:$_[0]", "c:$_[0]", "l:$_[0]"], $_[1]) }
sub restore { my $b = shift;
              run('chunk_restore', ["b:$b", "c:$b", "l:$b"], @_[0 .. 4],
                  $_[5] // ($_[2] ? int(time()) : 0)) }
sub evict   { run('evict', ["b:$_[0]", "c:$_[0]", "l:$_[0]"], $_[1]) }
sub renew   { my $b = shift; run('renew', ['gen:s', "b:$b"], @_) }
sub get     { run('batch_get', ['gen:s', "b:$_[0]"]) }
sub cancel  { run('batch_cancel', ['gen:s', "b:$_[0]"], $_[2] // 1, $_[1]) }

sub view {
    my $r = get(shift);
    my %v;
    @v{@view} = @{$r->[1]};
    return \%v;
}

sub counts {
    my $v = view(shift);
    return "$v->{ok}/$v->{failed}";
}

sub final {
    my ($b, $status, %o) = @_;
    my (@keys, @args);

    for my $f (@{$o{files} // []}) {
        push @keys, "f:$f", 'fl:0', 'fl:0:batch_output';
        push @args, $f, "manifest-$f", 1763645999000000, $o{ttl} // 0,
                    $o{bytes} // 10;
    }

    return run('final', ["b:$b", 'bl:0', 'active', "c:$b", "l:$b", 'fx',
                         'uf:0', 'ub:0', 'ubh:0', 'hd', 'be', 'bo', 'be:0',
                         "bd:$b", @keys],
               $b, $status, '{"v":1}', "meta-$b", 1763645912345678, 0,
               $o{total} // 4, $o{ok} // 3, $o{failed} // 1, 'model',
               1763645913, 1763645914, 0, $o{hook} || 0,
               $o{ended} // 1763645915, $o{keep} // 0, @args);
}

sub batch_del {
    my ($b, $deleted) = @_;
    return run('batch_del', ["b:$b", 'bl:0', 'active', "c:$b", "l:$b", 'ub:0',
                             'ubh:0', 'hd', 'be', 'bo', 'be:0', "bd:$b"], $b,
               $deleted);
}

sub batch_old {
    my ($until, $n) = @_;
    my $r = run('batch_old', ['gen:s', 'be', 'bo', 'hd'], '{t}:b:', $until,
                $n // 9, 60);
    return $r->[0] ? $r : "$r->[1] " . join ' ', @{$r->[2]};
}

sub file {
    my ($f, $us, %o) = @_;
    my $p = $o{purpose} // 'batch';
    return run('file_put', ['gen:s', "f:$f", 'fl:0', "fl:0:$p", 'fx', 'uf:0',
                            'ufh:0', 'rebuild', "fd:$f"],
               $o{filler} // '', $f, "manifest-$f", $us, $o{expires} // 0,
               $o{bytes} // 10, $o{upload} // '');
}

sub erase {
    my ($f, $check, $deleted) = @_;
    return run('file_del', ['gen:s', "f:$f", 'fl:0', 'fl:0:batch', 'fx', 'uf:0',
                            "fd:$f"], $check // 1, $f, $deleted // 1);
}

sub files {
    my ($after, $limit, $order, $list, $score, $enough) = @_;
    my $r = run('file_list', ['gen:s', $list // 'fl:0'], '{t}:f:', $after,
                $score // '', $limit, $enough // 9999, $order // 'desc');
    return $r unless ref $r && @$r > 1;
    return join ' ', $r->[1], map { s/^manifest-//r } @{$r->[2]};
}

# the ids; with "full" all of the answer

sub hooks {
    my ($n, $lease, %o) = @_;
    my $r = run('hook_claim', ['gen:s', 'hd', 'hw'], $n, $lease // $LEASE,
                7200000, '{t}:b:', '{t}:hq:', $o{others} // 9,
                $o{places} // '');

    return $r if $o{full} || @$r < 3;

    my ($more, @pairs) = @{ $r->[2] };

    return [@$r[0, 1], [@pairs[grep { $_ % 2 == 0 } 0 .. $#pairs]]];
}

sub hook_set {
    my ($id, $pause, $receiver) = @_;

    return run('hook_set', ['hd'], $id, $pause, '{t}:b:', $receiver // '');
}

sub check {
    my ($since, $server) = @_;
    return run('check', ['gen:s', 'gen'], $server // 's', $since // -1);
}

sub filled {
    my ($owner, $ago) = @_;
    return run('filled', ['gen:s', 'rebuild', 'gen'], $owner, 's', '{t}:gen:',
               $ago // 0);
}

# a batch in progress with n chunks

sub started {
    my ($b, $n) = @_;
    put($b);
    claim($b, 'w', 'v');
    planned($b, 2 * $n, $n);
}


# --- the status machine and the view are those of the C side

# code that sees parts of the prelude

sub lua  { my ($parts, $code, @args) = @_;
           return redis('EVAL', join('', map { part($_) } @$parts) . $code, 1,
                        '{t}:b:lua', @args) }

sub machine {
    my ($core) = glob "$root/src/core";
    my $cc = $ENV{CC} || 'cc';

    system("$cc -o '$dir/steps' -I'$core' '$root/t/lua/steps.c' "
           . "'$core/batch_status.c'") == 0 or die "$cc failed";

    return split /\n/, `$dir/steps`;
}

my @machine = machine();
my %stamp = map { /^status (\S+) (\S+)/ ? ($1 => $2) : () } @machine;
my %ends = map { /^status (\S+) \S+ 1/ ? ($1 => 1) : () } @machine;
my %legal = map { /^step (\S+) (\S+)/ ? ("$1 $2" => 1) : () } @machine;

is scalar keys %stamp, 8, 'eight statuses';
is_deeply [sort @{lua(['status'], <<'EOL')}], [sort keys %legal],
local r = {}
for from, next in pairs(steps) do
    for to in string.gmatch(next, '%S+') do r[#r + 1] = from .. ' ' .. to end
end
return r
EOL
    'legal steps: those of core';

for my $s (sort keys %stamp, 'nonsense', '') {
    my $known = exists $stamp{$s};

    is_deeply lua(['status'], 'return {terminal(ARGV[1]) and 1 or 0, '
                              . 'live(ARGV[1]) and 1 or 0}', $s),
        [$ends{$s} ? 1 : 0, $known && !$ends{$s} ? 1 : 0],
        "'$s': terminal, live";

    # created_at is in batch.json, all others are set by the step

    is $stamp{$s}, $s eq 'validating' ? 'created_at' : "${s}_at",
        "'$s': its time" if $known;

    for my $to (sort keys %stamp, 'nonsense') {
        my %ok = (move => $legal{"$s $to"} || ($s eq '' && $to eq 'validating'),
                  finish => !$ends{$s} && $ends{$to},
                  reopen => ($s eq 'finalizing' || $s eq 'in_progress')
                            && $to eq 'in_progress');

        for my $how (sort keys %ok) {
            next if $how eq 'reopen' && $to ne 'in_progress';
            redis('DEL', '{t}:b:lua');

            my $r = lua(['status'], $how eq 'reopen'
                        ? 'return reopen(KEYS[1], ARGV[1])'
                        : "return $how(KEYS[1], ARGV[1], ARGV[2], '7')", $s,
                        $to);

            if ($ok{$how}) {
                is $r, $to, "$how: '$s' to '$to'";
                is redis('HGET', '{t}:b:lua', 'status'), $to, 'it is set';
                is redis('HGET', '{t}:b:lua', $stamp{$to}), 7, 'with its time'
                    if $how eq 'move' && $to ne 'validating';

            } else {
                like $r, qr/^-.*illegal status of a batch/,
                    "$how: not '$s' to '$to'";
                is redis('EXISTS', '{t}:b:lua'), 0, 'nothing is set';
            }
        }
    }
}

redis('DEL', '{t}:b:lua');
is lua(['status'], "move(KEYS[1], 'in_progress', 'finalizing', '5')"
                   . "reopen(KEYS[1], 'finalizing')"
                   . "move(KEYS[1], 'in_progress', 'finalizing', '6')"
                   . "return redis.call('HGET', KEYS[1], 'finalizing_at')"), 5,
    'a time is set once';

# the order of a view: prelude, C, and the answers themselves

my $fields = lua(['view'], 'return fields');

@view = @$fields;
redis('HSET', '{t}:b:lua', map { $_ => "<$_>" } @$fields);
redis('SET', '{t}:gen:s', 1);
is_deeply run('batch_get', ['gen:s', 'b:lua']), [0, [map { "<$_>" } @$fields]],
    'a view: all fields in their order';
redis('DEL', '{t}:b:lua', '{t}:gen:s');

my $c = slurp('ngx_http_batch_index_view.c');
is_deeply [$c =~ /^    \{ ngx_string\("(\w+)"\),/mg], $fields,
    'and C reads them so';


# --- nothing is answered from an index that is not filled

is_deeply check(), [2], 'check: not filled';
is_deeply put('early'), [2], 'batch_put: busy';
is_deeply get('early'), [2], 'batch_get: busy';
is_deeply cancel('early', 5), [2], 'batch_cancel: busy';
is_deeply run('batch_list', ['gen:s', 'bl:0'], '{t}:b:', '', '', 9, 99), [2],
    'batch_list: busy';
is_deeply file('early', 1), [2], 'file_put: busy';
is_deeply run('file_get', ['gen:s', 'f:early']), [2], 'file_get: busy';
is_deeply files('', 9), [2], 'file_list: busy';
is_deeply run('file_expired', ['gen:s', 'fx'], '{t}:f:', 9, 0, 9), [2],
    'file_expired: busy';
is_deeply run('active', ['gen:s', 'active'], 9, 0, '{t}:b:'), [2], 'active: busy';
is_deeply claim('early', 'w', 'n'), [2], 'claim: busy';
is_deeply chunk('early', 0, 1, 'run'), [2], 'chunk: busy, not lost';
is_deeply renew('early', 'v', 1, 9), [2], 'renew: busy, not lost';
is_deeply hooks(9), [2], 'hook_claim: busy';
is redis('DBSIZE'), 0, 'and nothing was written';

# --- a rebuild

is_deeply run('rebuild', ['rebuild'], 'a', $LEASE, 'renew'), [1],
    'a lock that nobody has cannot be renewed';
is_deeply run('rebuild', ['rebuild'], 'a', $LEASE, 'take'), [0], 'a takes it';
is_deeply run('rebuild', ['rebuild'], 'a', $LEASE, 'take'), [0], 'again';
is_deeply run('rebuild', ['rebuild'], 'b', $LEASE, 'take'), [1], 'b cannot';
is_deeply run('rebuild', ['rebuild'], 'a', $LEASE, 'renew'), [0], 'a renews';
is_deeply run('rebuild', ['rebuild'], 'b', 0, 'free'), [1], 'b has nothing';
is_deeply run('rebuild', ['rebuild'], 'a', 0, 'free'), [0], 'a is dead';
is_deeply run('rebuild', ['rebuild'], 'b', $LEASE, 'take'), [0], 'b takes it';
is_deeply run('rebuild', ['rebuild'], 'b', 0, 'free'), [0], 'b is dead, too';
is_deeply run('rebuild', ['rebuild'], 'a', $LEASE, 'take'), [0], 'a lives';
is_deeply filled('b'), [1], 'b cannot open';

is_deeply file('old', 1, filler => 'a'), [0], 'a file is restored without gen';
is_deeply file('older', 1, filler => 'b'), [1], 'by who has the lock only';
is_deeply run('file_get', ['gen:s', 'f:older']), [2], 'b has lost it';
is_deeply erase('old'), [2], 'a file is deleted, somebody may restore it';
is_deeply erase('old', 0), [1], 'who fills the index knows';
is_deeply file('old', 1, filler => 'a'), [0], 'it is restored again';
is_deeply put('r', check => 0), [0, 'validating'], 'and a batch';
is_deeply planned('r', 6, 3), [0, 'in_progress'], 'its plan';
is_deeply restore('r', 0, 4, 1, 2, 0), [0, 'in_progress'], 'a sealed chunk';
is_deeply restore('r', 0, 4, 1, 2, 0), [0, 'in_progress'], 'twice';
is_deeply restore('r', 1, 7, 0, 1, 0), [0, 'in_progress'], 'a journalled one';
is_deeply restore('nobody', 1, 7, 0, 1, 0), [1], 'not of an unknown batch';
is_deeply chunk('r', 1, 7, 'run', 1, 1), [0, 'in_progress'],
    'who runs on without an index has its lease again';
put('rc', check => 0);
is cancel('rc', 77, 0)->[1][2], 'cancelling', 'a cancel is restored';
is_deeply final('rf', 'completed', files => ['gone']), [0, 'completed'],
    'a terminal batch is made from its meta';
is_deeply filled('a'), [0], 'a opens the index';
is_deeply check(), [0], 'check: filled';
is_deeply check(60000), [0], 'check: within the last minute';
is_deeply check(-1, 'other'), [2], 'check: another server';
is_deeply check(), [2], 'which closes it';
run('rebuild', ['rebuild'], 'a', $LEASE, 'take');
is_deeply filled('a', 5000), [0], 'opened again, begun five seconds ago';
is_deeply check(4000), [2], 'check: too early for who asks';
run('rebuild', ['rebuild'], 'a', $LEASE, 'take');
redis('SET', '{t}:gen', 'before');
redis('SET', '{t}:gen:before', '1');
is_deeply filled('a'), [0], 'opened by another server';
is redis('EXISTS', '{t}:gen:before'), 0, 'what the one before said is gone';
redis('SET', '{t}:rebuild', 'a ' . (int(time * 1000) + 3600000));
is_deeply run('rebuild', ['rebuild'], 'b', $LEASE, 'take'), [0],
    'a lock from before the clock was set back holds nobody';
redis('DEL', '{t}:rebuild');
is redis('EXISTS', '{t}:rebuild'), 0, 'the lock is gone';

is counts('r'), '3/1', 'counts of restored chunks';
is brief('r', 'w', 'n1'), '2 2 1 in_progress', 'the chunk nobody had';
is brief('r', 'w', 'n2'), '0 0 0 in_progress', 'then none: one runs, one done';
is_deeply restore('r', 1, 9, 0, 0, 0), [0, 'in_progress'], 'a higher epoch';
is_deeply chunk('r', 1, 7, 'run'), [1, 'in_progress'], 'takes a lease away';
is brief('r', 'w', 'n3'), '2 1 10 in_progress', 'and the next is above it';
is_deeply restore('r', 1, 3, 0, 0, 0), [0, 'in_progress'], 'a lower one';
is_deeply chunk('r', 1, 10, 'run'), [0, 'in_progress'], 'changes nothing';
is counts('r'), '3/1', 'nor do its counts';
chunk('r', 1, 10, 'done', 1, 1);
is_deeply chunk('r', 2, 1, 'done', 2, 0), [0, 'finalizing'], 'the last one';
is view('rf')->{ok}, 3, 'the terminal one has its counts';

put('rs', check => 0);
planned('rs', 2, 1);
restore('rs', 0, 1, 1, 2, 0);
is brief('rs', 'w', 'n'), '3 0 1 finalizing',
    'all seals there, no final.json: claim finds out';

# finalizing_at: of the newest seal or of the expiry, so that an index which is
# filled from the disk says what clients have seen

my $T = 1763646000;

sub refilled {
    my ($b, $expires, @seals) = @_;

    put($b, check => 0, expires => $expires);
    planned($b, 2 * @seals, scalar @seals);
    restore($b, $_, 1, $seals[$_] ? 1 : 0, 2, 0, $seals[$_]) for 0 .. $#seals;
}

sub since {
    my $c = claim(@_);
    return "$c->{status} $c->{finalizing_at} $c->{expired}";
}

put('s1', check => 0, expires => $T + 500);
planned('s1', 4, 2);
restore('s1', $_, 1, 0, 0, 0) for 0, 1;
chunk('s1', 0, 1, 'done', 2, 0, undef, $T + 20);
chunk('s1', 1, 1, 'done', 2, 0, undef, $T + 10);
is view('s1')->{finalizing_at}, $T + 20, 'finalizing: since the newest seal';
refilled('s2', $T + 500, $T + 20, $T + 10);
is since('s2', 'w', 'n'), 'finalizing ' . ($T + 20) . ' 0',
    'filled anew: the same, however long ago it has expired';

put('s3', check => 0, expires => $T + 15);
planned('s3', 4, 2);
restore('s3', $_, 1, 0, 0, 0) for 0, 1;
chunk('s3', 0, 1, 'done', 2, 0, undef, $T + 20);
chunk('s3', 1, 1, 'done', 2, 0, undef, $T + 10);
is since('s3', 'w', 'n'), 'finalizing ' . ($T + 15) . ' 1',
    'a seal from after the expiry: expired';
refilled('s4', $T + 15, $T + 20, $T + 10);
is since('s4', 'w', 'n'), 'finalizing ' . ($T + 15) . ' 1', 'filled anew';
refilled('s5', $T + 15, $T + 10, 0);
is since('s5', 'w', 'n'), 'finalizing ' . ($T + 15) . ' 1',
    'a chunk without a seal';
refilled('s6', 0, 1763645900);
is since('s6', 'w', 'n'), 'finalizing 1763645913 0',
    'a clock that was set back: not before in_progress_at';

refilled('s7', $T + 500, $T + 20, $T + 10);
is cancel('s7', $T + 30, 0)->[1][4], $T + 20, 'cancelled when finalizing';
refilled('s8', $T + 500, $T + 20, $T + 10);
is cancel('s8', $T + 15, 0)->[1][4], undef, 'cancelled before';
refilled('s9', $T + 500, $T + 20, 0);
is cancel('s9', $T + 30, 0)->[1][4], undef, 'cancelled while it ran';

# who fills the index ends with it: no client waits for a claim to see the same

sub settled {
    my ($b) = @_;
    my $r = cancel($b, 0, 0)->[1];
    my ($e) = @{redis('HMGET', "{t}:b:$b", 'expired')};
    return join ' ', map { $_ // '-' } @$r[2, 4, 5], $e;
}

refilled('s11', $T + 500, $T + 20, $T + 10);
is settled('s11'), 'finalizing ' . ($T + 20) . ' - -', 'all seals: finalizing';
is settled('s11'), 'finalizing ' . ($T + 20) . ' - -', 'said twice';
is since('s11', 'w', 'n'), 'finalizing ' . ($T + 20) . ' 0', 'a claim agrees';
refilled('s12', $T + 15, $T + 20, 0);
is settled('s12'), 'finalizing ' . ($T + 15) . ' - 1', 'expired: finalizing';
is since('s12', 'w', 'n'), 'finalizing ' . ($T + 15) . ' 1', 'a claim agrees';
refilled('s13', time + 500, $T + 20, 0);
is settled('s13'), 'in_progress - - -', 'neither: it goes on';
refilled('s14', 0, $T + 20);
is settled('s14'), 'finalizing ' . ($T + 20) . ' - -', 'it never expires';
put('s15', check => 0, expires => $T);
is settled('s15'), "finalizing $T - 1", 'expired before it was validated';
put('s16', check => 0);
is settled('s16'), 'validating - - -', 'it is still to be validated';

refilled('s10', $T + 15, $T + 20, 0);
is cancel('s10', $T + 30, 0)->[1][4], $T + 15, 'cancelled when expired';
is since('s10', 'w', 'n'), 'cancelling ' . ($T + 15) . ' 0', 'and stays so';
redis('DEL', map { ("{t}:b:s$_", "{t}:c:s$_", "{t}:l:s$_") } 1 .. 16);
redis('ZREM', '{t}:active', map { "s$_" } 1 .. 16);

# --- the clock is set back by an hour: leases end all the same

started('clk', 2);
is brief('clk', 'w', 'n1'), '2 0 1 in_progress', 'a chunk';
my $hour = int(time * 1000) + 3600000;
redis('ZADD', '{t}:l:clk', $hour, 0);
is brief('clk', 'w2', 'n2'), '2 0 2 in_progress', 'somebody else has it';
redis('ZADD', '{t}:l:clk', $hour, 0);
is_deeply chunk('clk', 0, 2, 'run'), [0, 'in_progress'], 'who is there renews';
is brief('clk', 'w3', 'n3'), '2 1 1 in_progress', 'and keeps it';
redis('ZADD', '{t}:l:clk', $hour, $_) for 0, 1;
cancel('clk', 5);
is brief('clk', 'w3', 'n4'), '3 0 1 cancelling', 'no lease keeps a cancel back';
redis('HSET', '{t}:b:clk', 'funtil', $hour);
is brief('clk', 'w4', 'n5'), '3 0 2 cancelling', 'nor that of a finalizer';

# --- who sees that the clock has been set takes no lease of others

for my $ahead (-3600, 3600) {
    my $b = "set$ahead";
    my $then = int((time + $ahead) * 1000);

    started($b, 3);
    is brief($b, 'w', "n$_"), "2 $_ 1 in_progress", "chunk $_" for 0 .. 2;
    chunk($b, 1, 1, 'release');
    redis('ZADD', "{t}:l:$b", $then + 5000, $_) for 0, 2;

    for my $clock (-1, $then) {
        is brief($b, 'w', 'n2', $LEASE, $clock), '2 2 1 in_progress',
            'the same call again: its own chunk';
    }

    is brief($b, 'w2', 'm1', $LEASE, $then), '2 1 2 in_progress',
        'what was given back is free';
    is brief($b, 'w3', 'm2', $LEASE, $then), '0 0 0 in_progress',
        'what runs is not';
    is brief($b, 'w3', 'm2', $LEASE, -1), '0 0 0 in_progress',
        'nor a moment later';

    cancel($b, 5);
    is brief($b, 'w3', 'm3', $LEASE, -1), '0 0 0 cancelling',
        'the end waits for them';
    is brief($b, 'w3', 'm4', $LEASE, int(time * 1000)), '0 0 0 cancelling',
        'by a clock that is right for that of w2';
    chunk($b, 1, 2, 'release');
    is brief($b, 'w3', 'm5', $LEASE, int(time * 1000)), '3 0 1 cancelling',
        'by a clock that is right the others are over';
    is brief($b, 'w4', 'm6', $LEASE, $then), '0 0 0 cancelling',
        'a finalizer keeps its lease, too';
}

# --- a server that is older than what an owner knows

started('old', 1);
is brief('old', 'w', 'n1'), '2 0 1 in_progress', 'a chunk';
my $open = redis('GET', '{t}:gen:s');
redis('DEL', '{t}:gen:s');
is_deeply chunk('old', 0, 2, 'run'), [2], 'a later epoch: not lost yet';
is_deeply renew('old', 'v', 2, 9), [2], 'nor a lease of the whole';
is_deeply chunk('old', 0, 0, 'run'), [1, 'in_progress'], 'an older one is lost';
is_deeply cancel('old', 7), [2], 'a cancel while it is rebuilt';
redis('SET', '{t}:gen:s', $open);
is view('old')->{status}, 'cancelling', 'is not forgotten';
is_deeply chunk('old', 0, 2, 'run'), [1, 'cancelling'], 'and now it is lost';

# --- all files that the index has

my ($cursor, %known) = ('0');

do {
    my $r = run('file_scan', ['gen:s'], $cursor, '{t}:f:*', 3);
    $cursor = $r->[1];
    $known{$_} = 1 for @{ $r->[2] };
} while ($cursor ne '0');

is_deeply [sort keys %known], ['manifest-gone', 'manifest-old'], 'file_scan';

# --- validation

is_deeply put('a', us => 1763645912345679), [0, 'validating'], 'put';
is_deeply put('a', us => 1763645912345679), [0, 'validating'], 'put again';
is view('a')->{meta}, 'meta-a', 'its meta';
is counts('a'), '0/0', 'its counts';
is redis('ZSCORE', '{t}:bl:0', 'a'), '1763645912345679', 'all digits';
sub active { return run('active', ['gen:s', $_[0]], $_[1], $_[2], '{t}:b:')->[2] }

ok +(grep { $_ eq 'a 0' } @{active('active', 99, 0)}),
    'it is active, and whose it is';
is scalar @{active('active', 2, 0)}, 2, 'active: limit';
redis('ZADD', '{t}:active3', 1, 'a', 2, 'none', 3, 'odd');
redis('SET', '{t}:b:odd', 'x');
is_deeply active('active3', 9, 0), ['a 0', 'none', 'odd'],
          'active: of a batch that is damaged the id alone';
redis('DEL', '{t}:active3', '{t}:b:odd');

redis('ZADD', '{t}:many', $_, "i$_") for 1 .. 11;
my %turns;

for my $turn (0 .. 4) {
    my $ids = active('many', 4, $turn);
    is "@$ids[0, 1]", 'i1 i2', "turn $turn: the oldest";
    $turns{$_} = 1 for @$ids;
}

is scalar keys %turns, 11, 'and the others in turn';
redis('DEL', '{t}:many');
is brief('a', 'w1', 'n1', $LEASE, 0, 0), '0 0 0 validating',
    'w1 has no room for a job';
is brief('a', 'w1', 'n1'), '1 0 1 validating', 'w1 validates';
is brief('a', 'w1', 'n1', $LEASE, 0, 0), '1 0 1 validating',
    'what it has it hears of without room, too';
is brief('a', 'w1', 'n1'), '1 0 1 validating', 'the same nonce, the same claim';
is brief('a', 'w1', 'n2'), '0 0 0 validating', 'another nonce: leased';
is brief('a', 'w2', 'n1'), '0 0 0 validating', 'another owner: leased';
is_deeply renew('a', 'v', 1, 1), [0, 'validating'], 'renewed, for 1 ms';
sleep 0.01;
is brief('a', 'w2', 'n3'), '1 0 2 validating', 'over: w2, a higher epoch';
is_deeply renew('a', 'v', 1, 9), [1, 'validating'], 'w1 has lost it';
is_deeply renew('a', 'v', 2, 0), [0, 'validating'], 'w2 gives it back';
is_deeply renew('a', 'v', 2, 9), [1, 'validating'], 'then it has none';
is brief('a', 'w1', 'n4'), '1 0 3 validating', 'w1 may have it at once';
is_deeply planned('a', 6, 3), [0, 'in_progress'], 'planned';
is_deeply planned('a', 9, 9), [0, 'in_progress'], 'planned again';
is_deeply planned('nobody', 9, 9), [1], 'planned: no such batch';
is view('a')->{total}, 6, 'the first plan stays';
is view('a')->{in_progress_at}, 1763645913, 'in_progress_at';

# --- chunks

is brief('a', 'w1', 'c1'), '2 0 1 in_progress', 'w1 gets chunk 0';
is brief('a', 'w2', 'c1'), '2 1 1 in_progress', 'w2 gets chunk 1';
is brief('a', 'w1', 'c1'), '2 0 1 in_progress', 'w1 asks again: the same';
is brief('a', 'w1', 'c2', 1), '2 2 1 in_progress', 'w1 gets chunk 2, for 1 ms';
sleep 0.01;
is brief('a', 'w2', 'c2'), '2 2 2 in_progress', 'w2 takes it over: epoch 2';
is_deeply chunk('a', 2, 1, 'run', 1), [1, 'in_progress'], 'w1 has lost it';
is_deeply chunk('a', 2, 1, 'done', 2), [1, 'in_progress'], 'for its seal too';
is_deeply chunk('a', 9, 1, 'run'), [1, 'in_progress'], 'no such chunk';
is_deeply chunk('nobody', 0, 1, 'run'), [1, ''], 'no such batch';
is counts('a'), '0/0', 'who has lost does not count';
is brief('a', 'w3', 'c1'), '0 0 0 in_progress', 'nothing is left';

is_deeply chunk('a', 0, 1, 'run', 1, 0), [0, 'in_progress'], 'one line';
is_deeply chunk('a', 0, 1, 'run', 1, 0), [0, 'in_progress'], 'said twice';
is counts('a'), '1/0', 'counts once';
chunk('a', 0, 1, 'run', 0, 1);
is counts('a'), '1/1', 'counts do not fall';
is_deeply chunk('a', 0, 1, 'release', 1, 1), [0, 'in_progress'], 'released';
is brief('a', 'w3', 'c2'), '2 0 2 in_progress', 'w3 has it at once';
chunk('a', 0, 2, 'run', 0, 0);
is counts('a'), '1/1', 'and begins where the other was';

is_deeply chunk('a', 0, 2, 'done', 1, 1), [0, 'in_progress'], 'chunk 0 done';
is_deeply chunk('a', 0, 2, 'done', 1, 1), [0, 'in_progress'], 'said twice';
is_deeply chunk('a', 0, 2, 'release', 1, 1), [0, 'in_progress'],
    'what is done is not released';
is brief('a', 'w3', 'c3'), '0 0 0 in_progress', 'nor claimed';
chunk('a', 1, 1, 'run', 0, 0, 1);
sleep 0.01;
is_deeply chunk('a', 1, 1, 'done', 2, 0), [0, 'in_progress'],
    'a lease that ran out is good as long as nobody took it';
is_deeply chunk('a', 2, 2, 'done', 2, 0), [0, 'finalizing'],
    'the last: finalizing';
is_deeply chunk('a', 2, 2, 'done', 2, 0), [0, 'finalizing'], 'said twice';
is counts('a'), '5/1', 'all lines are counted';
cmp_ok view('a')->{finalizing_at}, '>=', view('a')->{in_progress_at},
    'finalizing_at is not before in_progress_at';

# --- the finalizer

my $at = view('a')->{finalizing_at};

is brief('a', 'w1', 'f1'), '3 0 1 finalizing', 'w1 finalizes';
is brief('a', 'w1', 'f1'), '3 0 1 finalizing', 'the same nonce';
is brief('a', 'w2', 'f2'), '0 0 0 finalizing', 'w2 does not';
is claim('a', 'w1', 'f1')->{expired}, 0, 'not by expiry';
is_deeply again('a', 1), [0, 'in_progress'], 'a seal is void';
is_deeply again('a', 1), [0, 'in_progress'], 'said twice';
is_deeply renew('a', 'f', 1, 9), [1, 'in_progress'],
    'the finalizer gave its lease back';
is counts('a'), '5/1', 'clients see no smaller counts';
is view('a')->{finalizing_at}, $at, 'finalizing_at stays';
is brief('a', 'w2', 'c9'), '2 1 2 in_progress', 'the chunk runs again';
is brief('a', 'w2', 'c8'), '0 0 0 in_progress', 'only this one';
is_deeply again('a', 1), [0, 'in_progress'], 'redo while it runs';
is_deeply chunk('a', 1, 2, 'run'), [0, 'in_progress'], 'leaves its lease';
sleep 1.1;
is_deeply chunk('a', 1, 2, 'done', 2, 0), [0, 'finalizing'], 'done again';
is view('a')->{finalizing_at}, $at, 'finalizing_at is set once';
is counts('a'), '5/1', 'counts as before';
is brief('a', 'w2', 'f3', 1), '3 0 2 finalizing', 'finalizing again, 1 ms';
sleep 0.01;
is brief('a', 'w1', 'f4'), '3 0 3 finalizing', 'taken over';
is_deeply renew('a', 'f', 2, 9), [1, 'finalizing'], 'w2 has lost it';
is_deeply renew('a', 'f', 3, $LEASE), [0, 'finalizing'], 'w1 keeps it';

is_deeply final('a', 'completed', files => ['out', 'err'], total => 6,
                ok => 5, failed => 1, ttl => 100), [0, 'completed'], 'final';
is_deeply final('a', 'cancelled', files => ['other'], ok => 1),
    [0, 'completed'], 'a second final changes nothing';
is view('a')->{status}, 'completed', 'completed';
is view('a')->{final}, '{"v":1}', 'its final text';
is counts('a'), '5/1', 'its counts';
is redis('EXISTS', '{t}:c:a', '{t}:l:a', '{t}:f:other'), 0, 'what is left';
is redis('ZSCORE', '{t}:active', 'a'), undef, 'no longer active';
is_deeply run('file_get', ['gen:s', 'f:out']), [0, 0, ['manifest-out']],
    'the output file';
is redis('ZSCORE', '{t}:fx', 'err'), 100, 'the error file expires';
is brief('a', 'w1', 'x'), '4 0 0 completed', 'a claim: gone';
is brief('nobody', 'w1', 'x'), '4 0 0 ', 'and for an unknown one';
is_deeply chunk('a', 0, 2, 'run'), [1, 'completed'], 'chunk: lost';
is_deeply renew('a', 'f', 3, 9), [1, 'completed'], 'renew: lost';
is_deeply planned('a', 1, 1), [0, 'completed'], 'planned: unchanged';
is_deeply restore('a', 0, 9, 1, 9, 9), [0, 'completed'], 'restore: unchanged';
is_deeply again('a', 0), [0, 'completed'], 'redo: unchanged';
is_deeply put('a'), [0, 'completed'], 'put: unchanged';
is redis('ZSCORE', '{t}:active', 'a'), undef, 'put does not wake it';
is cancel('a', 5)->[1][2], 'completed', 'cancel: unchanged';
is view('a')->{cancelling_at}, undef, 'cancel: no time';
is counts('a'), '5/1', 'all the same';

# --- cancel in every state

is_deeply cancel('nobody', 5), [1], 'cancel: no such batch';

put('v');
is cancel('v', 50)->[1][2], 'cancelling', 'cancel before validation';
is cancel('v', 60)->[1][5], 50, 'the first time counts';
is brief('v', 'w1', 'n'), '3 0 1 cancelling', 'nothing to wait for';
is claim('v', 'w1', 'n')->{cancelling_at}, 50, 'a claim tells the time';
is_deeply final('v', 'cancelled'), [0, 'cancelled'], 'cancelled';
is cancel('v', 70)->[1][2], 'cancelled', 'cancel of a cancelled one';

put('vv');
claim('vv', 'w1', 'n');
cancel('vv', 50);
is brief('vv', 'w2', 'n'), '0 0 0 cancelling', 'a validation is waited for';
is_deeply planned('vv', 4, 2), [0, 'cancelling'], 'it ends';
is view('vv')->{total}, 4, 'its total is known';
is view('vv')->{in_progress_at}, undef, 'it was never in progress';
is brief('vv', 'w2', 'n'), '3 0 1 cancelling', 'then it is finalized';

started('p', 3);
claim('p', 'w1', 'n1');
claim('p', 'w2', 'n1', 1);
claim('p', 'w3', 'n1');
sleep 0.01;
cancel('p', 50);
is brief('p', 'w4', 'n'), '0 0 0 cancelling', 'running chunks are waited for';
is_deeply chunk('p', 0, 1, 'run', 1), [0, 'cancelling'], 'they hear of it';
is_deeply chunk('p', 0, 1, 'release', 1), [0, 'cancelling'], 'and are released';
is brief('p', 'w4', 'n'), '0 0 0 cancelling', 'one is left';
is brief('p', 'w3', 'n1'), '3 0 1 cancelling',
    'who asks again for its claim is not running it';
is_deeply again('p', 0), [0, 'cancelling'], 'no redo when cancelling';
is counts('p'), '1/0', 'what was done is counted';

started('f', 1);
claim('f', 'w1', 'n1');
chunk('f', 0, 1, 'done', 2);
is view('f')->{status}, 'finalizing', 'finalizing';
is cancel('f', 50)->[1][2], 'cancelling', 'cancel when finalizing';
is brief('f', 'w1', 'n2'), '3 0 1 cancelling', 'it is finalized';

# --- expiry

put('e', expires => 1);
$c = claim('e', 'w1', 'n1');
is "$c->{what} $c->{status} $c->{expired}", '3 finalizing 1',
    'expired before validation';
is $c->{finalizing_at}, 1, 'finalizing_at is when it expired';
is_deeply planned('e', 2, 1), [0, 'finalizing'], 'a late plan';
is_deeply final('e', 'expired'), [0, 'expired'], 'expired';

put('ep', expires => int(time()) + 2);
claim('ep', 'w1', 'v');
planned('ep', 4, 2);
is brief('ep', 'w1', 'n1'), '2 0 1 in_progress', 'not yet';
put('er', expires => int(time()) + 2);
claim('er', 'w1', 'v');
planned('er', 4, 1);
claim('er', 'w1', 'n1');
is_deeply chunk('er', 0, 1, 'run', 1), [0, 'in_progress'], 'it runs';
sleep 2.1;
is_deeply chunk('er', 0, 1, 'run', 1), [0, 'finalizing'],
    'expired while nobody claims';
is_deeply chunk('er', 0, 1, 'release', 1), [0, 'finalizing'], 'stops';
is claim('er', 'w2', 'n2')->{expired}, 1, 'and it is finalized by expiry';
is brief('ep', 'w2', 'n1'), '0 0 0 finalizing', 'now: no new chunk';
is_deeply chunk('ep', 0, 1, 'run', 1), [0, 'finalizing'], 'who runs hears it';
is_deeply again('ep', 0), [0, 'finalizing'], 'no redo when expired';
is_deeply chunk('ep', 0, 1, 'release', 1), [0, 'finalizing'], 'stops';
is claim('ep', 'w2', 'n2')->{what}, 3, 'and it is finalized';
is claim('ep', 'w2', 'n2')->{expired}, 1, 'by expiry';
put('el', expires => int(time()) + 9999);
is brief('el', 'w1', 'n1'), '1 0 1 validating', 'a later one runs';
is cancel('ep', 50)->[1][2], 'cancelling', 'cancel when it expires';
is claim('ep', 'w2', 'n2')->{expired}, 0, 'is a cancel';

# --- lists

redis('DEL', '{t}:fl:0', '{t}:fl:0:batch', '{t}:fx');
file("f$_", 1763645912345670 + $_, expires => $_ < 4 ? $_ : 0) for 1 .. 7;
file('u', 1763645912345680, purpose => 'user_data');
file('f3', 1763645912345673, expires => 3);

is files('', 3), '1 u f7 f6', 'newest first';
is files('f6', 3), '1 f5 f4 f3', 'after f6';
is files('f3', 3), '0 f2 f1', 'the end';
is files('f1', 3), '0', 'after the last';
is files('f3', 2), '1 f2 f1', 'that fits: there may be more';
is files('unknown', 3), '0', 'after an unknown id: nothing';
is files('', 3, 'asc'), '1 f1 f2 f3', 'oldest first';
is files('f5', 9, 'asc'), '0 f6 f7 u', 'after f5';
is files('', 9, 'desc', 'fl:0:user_data'), '0 u', 'of one purpose';
is files('', 9, 'desc', 'fl:1'), '0', 'of another tenant';
is files('', 2, 'desc', 'fl:0:batch'), '1 f7 f6', 'of batch';

redis('DEL', '{t}:f:f5', '{t}:f:f6');
is files('', 3), '1 u f7', 'what is gone is left out';
is files('f6', 9), '0 f4 f3 f2 f1', 'and still is a place in the list';

# a piece goes on behind what is gone from the list, too

sub place {
    my $r = run('file_list', ['gen:s', 'fl:0'], '{t}:f:', $_[0] // '',
                $_[1] // '', 2, 9999, $_[2] // 'desc');
    return join ' ', @$r[3, 4], $r->[1], map { s/^manifest-//r } @{$r->[2]};
}

is place(), 'f7 1763645912345677 1 u f7', 'where it goes on';
is place('unknown'), '  0', 'nowhere';
redis('ZREM', '{t}:fl:0', 'f3', 'f4');
is place('f4', '1763645912345674'), 'f1 1763645912345671 1 f2 f1',
    'behind one that is gone';
is place('f3', '1763645912345673', 'asc'), 'f6 1763645912345676 1',
    'the other way';
redis('ZADD', '{t}:fl:0', 1763645912345674, $_) for qw(ta tc td);
is place('tb', '1763645912345674'), 'f2 1763645912345672 1 f2',
    'also of several at the same time';
is place('tb', '1763645912345674', 'asc'), 'td 1763645912345674 1',
    'the other way';
redis('ZREM', '{t}:fl:0', qw(ta tc td));
redis('ZADD', '{t}:fl:0', 1763645912345673, 'f3', 1763645912345674, 'f4');
is files('', 9, 'desc', undef, '', 12), '1 u f7',
    'it ends when it has enough bytes';
is files('f4', 9, 'desc', undef, '', 1), '1 f3', 'but not before one';

sub overdue { return run('file_expired', ['gen:s', 'fx'], '{t}:f:', @_) }

my $r = overdue(2, 0, 9);
is_deeply $r, [0, 0, ['manifest-f1', 'manifest-f2']], 'overdue files';
is_deeply overdue(9, 0, 1), [0, 1, ['manifest-f1']],
    'up to limit, and there may be more';
is_deeply overdue(2, 1, 9), [0, 0, ['manifest-f2']],
    'but those to pass over';
redis('DEL', '{t}:f:f1');
is_deeply overdue(9, 0, 1), [0, 1, []], 'a dead entry alone is not the end';
redis('ZADD', '{t}:fx', 1, 'f1');
$r = overdue(9, 0, 9);
is_deeply $r->[2], ['manifest-f2', 'manifest-f3'], 'a dead entry is skipped';
is redis('ZSCORE', '{t}:fx', 'f1'), undef, 'and dropped';

is_deeply erase('f2'), [0], 'delete';
is_deeply erase('f2'), [1], 'delete again';
is_deeply run('file_get', ['gen:s', 'f:f2']), [1], 'it is gone';
is redis('ZSCORE', "{t}:$_", 'f2'), undef, "from $_"
    for 'fl:0', 'fl:0:batch', 'fx';

redis('DEL', '{t}:bl:0');
put("b$_", us => 1763645912345670 + $_) for 1 .. 5;

sub batches {
    my ($after, $limit, $score, $enough) = @_;
    my $r = run('batch_list', ['gen:s', 'bl:0'], '{t}:b:', $after,
                $score // '', $limit, $enough // 9999);
    return join ' ', $r->[1], map { $_->[0] =~ s/^meta-//r } @{$r->[2]};
}

is batches('', 2), '1 b5 b4', 'batches, newest first';
is batches('b4', 2), '1 b3 b2', 'the next';
is batches('b2', 2), '0 b1', 'the last';
is batches('unknown', 2), '0', 'after an unknown id';
redis('DEL', '{t}:b:b3');
is batches('b4', 2), '1 b2', 'what is gone is left out';
is scalar @{run('batch_list', ['gen:s', 'bl:0'], '{t}:b:', '', '',
                 1, 99)->[2][0]},
    scalar @view,
    'a view is whole';
is_deeply get('b3'), [1], 'batch_get: no such batch';

# --- a server that is full, and keys that are not ours

started('o', 2);
claim('o', 'w', 'n1');
claim('o', 'w', 'n2');
put('oc');
redis('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
redis('CONFIG', 'SET', 'maxmemory', 1);

like put('new'), qr/^-.*OOM/, 'full: no new batch';
is redis('EXISTS', '{t}:b:new'), 0, 'and nothing of it';
is_deeply chunk('o', 0, 1, 'run', 1), [0, 'in_progress'], 'full: renewing';
is_deeply chunk('o', 0, 1, 'done', 2), [0, 'in_progress'], 'full: done';
is_deeply chunk('o', 1, 1, 'done', 2), [0, 'finalizing'], 'full: the last';
is brief('o', 'w', 'n3'), '3 0 1 finalizing', 'full: finalizing';
is_deeply renew('o', 'f', 1, $LEASE), [0, 'finalizing'], 'full: its lease';
is_deeply final('o', 'completed', files => ['oo'], hook => 1),
    [0, 'completed'], 'full: the end';
is redis('ZREM', '{t}:hd', 'o'), 1, 'full: its webhook';
is cancel('oc', 5)->[1][2], 'cancelling', 'full: cancel';
redis('CONFIG', 'SET', 'maxmemory', 0);

# --- a dead worker's leases end at once, and nobody else's

started('dead', 3);
is brief('dead', 'w1', 'x1'), '2 0 1 in_progress', 'evict: w1 has chunk 0';
is brief('dead', 'w2', 'x2'), '2 1 1 in_progress', 'evict: w2 has chunk 1';
is brief('dead', 'w1', 'x3'), '2 2 1 in_progress', 'evict: w1 has chunk 2';
is brief('dead', 'w3', 'x4'), '0 0 0 in_progress', 'evict: nothing is left';
is_deeply chunk('dead', 0, 1, 'run', 1), [0, 'in_progress'], 'evict: counts';
is_deeply evict('dead', 'w1'), [0, 'in_progress'], 'evict: w1 is dead';
is brief('dead', 'w3', 'x5'), '2 0 2 in_progress', 'evict: w3 takes chunk 0';
is brief('dead', 'w3', 'x6'), '2 2 2 in_progress', 'evict: and chunk 2';
is brief('dead', 'w3', 'x7'), '0 0 0 in_progress', 'evict: not chunk 1';
is counts('dead'), '1/0', 'evict: counts stay';
is_deeply chunk('dead', 0, 1, 'run', 2), [1, 'in_progress'],
    'evict: w1 was not dead after all: lost';
is_deeply evict('dead', 'w9'), [0, 'in_progress'], 'evict: of nobody';
is_deeply evict('unknown', 'w1'), [1], 'evict: unknown batch';

put('deadv');
is brief('deadv', 'w1', 'y1'), '1 0 1 validating', 'evict: w1 validates';
evict('deadv', 'w2');
is brief('deadv', 'w3', 'y2'), '0 0 0 validating', 'evict: it does';
evict('deadv', 'w1');
is brief('deadv', 'w3', 'y3'), '1 0 2 validating', 'evict: now w3 does';

# --- ended batches that are to go

redis('DEL', '{t}:be', '{t}:be:0', '{t}:bo');

for my $n (1 .. 4) {
    put("old$n");
    final("old$n", 'failed', ended => $n < 4 ? 100 * $n : 4000, hook => $n == 2);
}

is batch_old(99), '0 ', 'old: none yet';
is batch_old(300, 2), '1 meta-old1', 'old: the oldest, not one with a webhook';
is batch_old(300, 2), '0 meta-old3', 'old: they are put off';
is batch_old(360, 9), '0 meta-old1 meta-old3',
    'old: for a minute, by the time of their end';
redis('ZREM', '{t}:hd', 'old2');
is batch_old(420, 9), '0 meta-old1 meta-old2 meta-old3',
    'old: its webhook is delivered';
is redis('ZSCORE', '{t}:be', 'old1'), 480, 'old: put off stays put off';
final('old1', 'failed', ended => 100);
is redis('ZSCORE', '{t}:be', 'old1'), 480, 'old: said again, too';

is_deeply batch_del('old1', 1), [0], 'del';
is_deeply batch_del('old1', 1), [1], 'del: it was not there';
is redis('EXISTS', '{t}:b:old1'), 0, 'del: nothing is left';
is redis('ZSCORE', "{t}:$_", 'old1'), undef, "del: in $_"
    for 'be', 'be:0', 'bo', 'bl:0', 'hd', 'active';
is_deeply final('old1', 'failed'), [1], 'del: a late final';
is_deeply put('old1'), [1], 'del: a late put';
is redis('EXISTS', '{t}:b:old1'), 0, 'del: do not bring it back';
batch_del('old3', 0);
is_deeply final('old3', 'failed', ended => 300), [0, 'failed'],
    'del: a batch that the store has lost may come back';

put('more');
final('more', 'failed', ended => 5000, keep => 2);
is join(' ', @{redis('ZRANGE', '{t}:be:0', 0, -1)}), 'old4 more',
    'keep: two are left';
is batch_old(0), '0 meta-old2 meta-old3', 'keep: the others go';
is batch_old(0), '0 ', 'keep: once a minute';

{
    redis('HSET', '{t}:b:more', 'final', 'x' x 99);
    final('more', 'failed');
    is redis('HGET', '{t}:b:more', 'final'), '{"v":1}',
        'a text of an older module is replaced by a shorter one';
}

my %seen;
my $cursor_ = 0;

do {
    my $r = run('batch_scan', ['gen:s'], $cursor_, '{t}:b:*', 3);
    $seen{$_}++ for @{$r->[2]};
    $cursor_ = $r->[1];
} while ($cursor_);

ok $seen{'meta-old4'} && $seen{'meta-more'} && !$seen{'meta-old1'},
    'scan: all batches';

redis('SET', '{t}:active2', 'x');
like run('batch_put', ['gen:s', 'b:w', 'bl:0', 'active2', 'ub:0', 'ubh:0',
                       'bd:w'], 1,
         'w', 'm', 1, 0),
    qr/^-.*WRONGTYPE/, 'a key of another type';
is redis('EXISTS', '{t}:b:w'), 0, 'fails before anything is written';
redis('SET', '{t}:fl:x', 'x');
like run('final', ['b:w', 'bl:0', 'active', 'c:w', 'l:w', 'fx', 'uf:0', 'ub:0',
                   'ubh:0', 'hd', 'be', 'bo', 'be:0', 'bd:w', 'f:w', 'fl:x', 'fl:y'],
         ('w') x 21),
     qr/^-.*WRONGTYPE/, 'in final too';
is redis('EXISTS', '{t}:b:w'), 0, 'the same';

# --- webhooks

is_deeply hooks(9), [0, 0, []], 'webhooks: none';

for my $b (qw(h1 h2 h3)) {
    put($b);
    final($b, 'completed', hook => $b ne 'h3');
}

final('h4', 'failed', hook => 1);
is_deeply hooks(0), [0, 3, []], 'webhooks: three, of a batch not known, too';
is_deeply hooks(2), [0, 3, [qw(h1 h2)]], 'webhooks: two are taken';
is_deeply hooks(2), [0, 3, ['h4']], 'webhooks: the third one';
is_deeply hooks(2), [0, 3, []], 'webhooks: all are taken';

is_deeply hook_set('h1', -1), [0], 'webhooks: delivered';
is_deeply hook_set('h1', -1), [1], 'webhooks: said twice';
is_deeply hook_set('h1', 0), [1], 'webhooks: it is not due by itself';
is_deeply hook_set('h3', 0), [1], 'webhooks: nor is what never was';
is_deeply hook_set('h2', 3600000), [0], 'webhooks: in an hour';
is_deeply hook_set('h4', 0), [0], 'webhooks: at once';
is_deeply hooks(9, 1), [0, 2, ['h4']], 'webhooks: with a lease of 1 ms';
sleep 0.01;
is_deeply hooks(9), [0, 2, ['h4']], 'webhooks: which is over';

final('h2', 'completed', hook => 1);
is_deeply hooks(9), [0, 2, []], 'webhooks: an end told again is no haste';
final('h3', 'completed', hook => 1);
is_deeply hooks(9), [0, 3, ['h3']], 'webhooks: but a way to be due';

redis('ZADD', '{t}:hd', int(time * 1000) + 7260000, 'h2');
is_deeply hooks(9), [0, 3, ['h2']], 'webhooks: the clock was set back';
is_deeply hooks(9), [0, 3, []], 'webhooks: taken then';
hook_set($_, -1) for qw(h2 h3 h4);
is_deeply hooks(9), [0, 0, []], 'webhooks: none is left';

# receivers: a has 400 that are due, b one that came after them, c none yet

redis('ZADD', '{t}:hd', map { ($_, "a$_") } 1 .. 400);
redis('HSET', "{t}:b:a$_", 'hook', 'aa') for 1 .. 400;
redis('ZADD', '{t}:hd', 1000, 'b1');
redis('HSET', '{t}:b:b1', 'hook', 'bb');

is_deeply hooks(9, undef, places => 'aa=0 ', others => 1), [0, 401, []],
    'receivers: one without a place is passed by';
is redis('ZCARD', '{t}:hq:aa'), 256, 'receivers: so many at a time';
is_deeply hooks(9, undef, places => 'aa=0 ', others => 1, full => 1),
    [0, 401, [1, 'b1', 'bb']], 'receivers: what came later is found';
is redis('ZCARD', '{t}:hq:aa'), 400, 'receivers: the others are in its queue';
is_deeply redis('ZRANGE', '{t}:hw', 0, -1), ['aa'], 'receivers: which is known';
is_deeply hooks(9, undef, places => 'aa=0 '), [0, 401, []],
    'receivers: nothing is due';
is_deeply hooks(9, undef, others => 3), [0, 401, [qw(a1 a10 a100)]],
    'receivers: three places, three webhooks';
is_deeply hooks(2, undef, others => 3)->[2], [qw(a101 a102)],
    'receivers: no more than are asked for';

redis('ZADD', '{t}:hd', 'XX', 0, 'a400');
is_deeply hooks(1, undef, places => 'aa=0 ')->[2], [],
    'receivers: one that is due once more';
redis('ZREM', '{t}:hd', map { "a$_" } 1 .. 399);
is_deeply hooks(9, undef, places => 'aa=9 ')->[2], [],
    'receivers: what is not due at all any more';
hooks(99, undef, places => 'aa=99 ') for 1 .. 5;
is redis('EXISTS', '{t}:hw') + redis('EXISTS', '{t}:hq:aa'), 0,
    'receivers: queues end';
is redis('ZCARD', '{t}:hd'), 2, 'receivers: two are left';

hook_set('b1', 0, 'cc');
is_deeply hooks(9, undef, full => 1)->[2], [0, 'b1', 'cc'],
    'receivers: it is another one';
hook_set('b1', 0);
redis('SET', '{t}:b:odd', 'x');
redis('ZADD', '{t}:hd', 1, 'odd');
is_deeply hooks(9, undef, full => 1, others => 0, places => 'cc=1')->[2],
    [0, 'odd', '0', 'b1', 'cc'], 'receivers: one that is not known is looked at';
hook_set($_, -1) for qw(b1 a400 odd);
is redis('HGET', '{t}:b:b1', 'hook'), undef, 'receivers: forgotten at the end';
redis('DEL', '{t}:b:odd', '{t}:b:b1', map { "{t}:b:a$_" } 1 .. 400);

# --- what a tenant uses

redis('DEL', map { "{t}:$_" } 'uf:0', 'ufh:0', 'ub:0', 'ubh:0');

# the number of things, their sum as it is kept and as it is
sub used {
    my ($key) = @_;
    my %all = @{redis('HGETALL', "{t}:$key")};
    my $kept = delete $all{sum} // 0;
    my $sum = 0;

    $sum += $_ for values %all;
    return join ' ', scalar(keys %all), $kept, $sum;
}

sub hold {
    my ($id, $n, %o) = @_;
    my $key = $o{of} // 'f';

    my $r = run('hold', ['gen:s', "u$key:0", "u${key}h:0"], $id, $n,
                $o{sum} // 0, $o{number} // 0, $o{hold} // 60000,
                $o{most} // 0);

    pop @$r if @$r == 4 && !$o{most};         # the same as $n then

    return join ' ', @$r;
}

sub of_upload {
    my ($part, $what, $n, %o) = @_;
    my $r = run('part', ['gen:s', 'uf:0', 'ufh:0', 'up:u'], 'u', $part, $what,
                $n, $o{most} // 0, $o{bytes} // 100, $o{max} // 200,
                $o{sum} // 0, $o{hold} // 60000, $o{stored} // 0);

    return ref $r ? join ' ', @$r : $r;
}

sub record { return redis('GET', '{t}:up:u') }

sub drop { run('drop', ["uf:0", "ufh:0"], @_) }

is hold('', 5, sum => 4), '1 1 0', 'hold: more than the limit';
is hold('', 5, sum => 5), '0 0 0', 'hold: as much as the limit';
is used('uf:0'), '0 0 0', 'hold: asking takes nothing';
is hold('q1', 60, sum => 100), '0 0 60', 'hold: a place';
is hold('q2', 60, sum => 100), '1 1 60', 'hold: not both of them';
is hold('q2', 40, sum => 100, number => 2), '0 0 100', 'hold: what is left';
is hold('q3', 0, number => 2), '1 2 2', 'hold: the number';
is hold('q2', 40, sum => 1, number => 1), '0 0 100', 'hold: again';
is hold('q2', 30, sum => 1), '0 0 90', 'hold: less, even over the limit';
is used('uf:0'), '2 90 90', 'hold: used';
file('q1', 1, bytes => 60);
is used('uf:0'), '2 90 90', 'file_put fills its place';
is_deeply drop('q1'), [1], 'drop: not what is filled';
is_deeply drop('q2'), [0], 'drop: what is held';
is_deeply drop('q2'), [1], 'drop: once';
is used('uf:0'), '1 60 60', 'drop: used';
file('q1', 1, bytes => 60) for 1 .. 2;
file('q4', 1, bytes => 0);
is used('uf:0'), '2 60 60', 'file_put: repeated, and of no bytes';
hold('up', 40);
file('q5', 1, bytes => 40, upload => 'up') for 1 .. 2;
is used('uf:0'), '3 100 100', 'file_put: instead of an upload';
is redis('ZCARD', '{t}:ufh:0'), 0, 'nothing is held';

erase($_) for 'q1', 'q1', 'q4', 'q5';

is used('uf:0'), '0 0 0', 'file_del: once each';

# a rebuild has shown it, a client has deleted it, and then its upload comes

hold('q6', 50);
hold('up6', 50);
run('rebuild', ['rebuild'], 'a', $LEASE, 'take');
file('q6', 1, bytes => 50, filler => 'a');
erase('q6');
is_deeply file('q6', 1, bytes => 50, upload => 'up6'), [0], 'file_put: deleted';
is_deeply run('file_get', ['gen:s', 'f:q6']), [1], 'and stays so';
unlike files('', 99), qr/q6/, 'in no list';
is used('uf:0'), '0 0 0', 'and takes no place';
is redis('ZCARD', '{t}:ufh:0'), 0, 'nothing is held';
cmp_ok redis('TTL', '{t}:fd:q6'), '>', 3000, 'what remembers it goes by itself';

# what the store has all the same, its filler puts there: it has looked

is_deeply file('q6', 1, bytes => 50, filler => 'a'), [0], 'a filler';
is run('file_get', ['gen:s', 'f:q6'])->[0], 0, 'is believed';
erase('q6');
run('rebuild', ['rebuild'], 'a', 0, 'free');

# what the store has lost may turn up again

file('q7', 1);
erase('q7', 0, 0);
is redis('EXISTS', '{t}:fd:q7'), 0, 'not deleted: no mark';
file('q7', 1);
is run('file_get', ['gen:s', 'f:q7'])->[0], 0, 'it may come back';
erase('q7', 0);
file('q7', 1);
is_deeply run('file_get', ['gen:s', 'f:q7']), [1], 'deleted by a rebuild';

hold('late', 70, hold => 1);
my $end = time + 10;
sleep 0.01 until hold('', 100, sum => 100) eq '0 0 0' || time > $end;
is used('uf:0'), '0 0 0', 'hold: its time is over';
file('late', 1, bytes => 70);
is used('uf:0'), '1 70 70', 'file_put: too late is counted all the same';

# a place that grows

redis('DEL', map { "{t}:$_" } 'uf:0', 'ufh:0');
is hold('g1', 10, sum => 100, most => 40), '0 0 40 40', 'most: all of it';
is hold('g2', 10, sum => 100, most => 90), '0 0 100 60', 'most: what is left';
is hold('g1', 20, sum => 100, most => 20), '0 0 100 40', 'most: never less';
is hold('g1', 41, sum => 100, most => 90), '1 1 100', 'most: not the amount';
is hold('g3', 1, number => 2, most => 90), '1 2 2', 'most: the number';
is hold('g1', 5, sum => 100), '0 0 65', 'but exactly, at the end';
is hold('g2', 1, most => 90), '0 0 95 90', 'most: no limit';
is used('uf:0'), '2 95 95', 'used';
is_deeply [drop('g1'), drop('g2')], [[0], [0]], 'drop';
is used('uf:0'), '0 0 0', 'nothing is used';

# parts of an upload

hold('u', 100);
is of_upload('a', 'take', 10, most => 50), '0 0 100 50', 'part: within its upload';
is of_upload('b', 'take', 50, most => 60), '0 0 110 60', 'part: more than it';
is of_upload('c', 'take', 91), '1 3 110', 'part: more than parts may have';
is of_upload('c', 'take', 90, sum => 199), '1 1 0 200', 'part: than the tenant may';
is of_upload('c', 'take', 1, most => 500, sum => 130), '0 0 130 20',
   'part: what is left to the tenant';
is of_upload('c', 'take', 1, most => 500), '0 0 200 90', 'part: to the upload';
is of_upload('c', 'take', 5), '0 0 115 5', 'part: exactly';
is record(), '0 a=50 b=60 c=5', 'part: record';
is of_upload('a', 'stored', 0), '0 0 115 50', 'part: stored';
is of_upload('b', 'drop', 0), '0 0 100 0', 'part: gone';
is of_upload('a', 'drop', 0), '0 0 100 0', 'part: one that it does not know';
is record(), '50 c=5', 'part: record';
is used('uf:0'), '1 100 100', 'part: used';
cmp_ok redis('PTTL', '{t}:up:u'), '>', 30000, 'it goes by itself';

redis('DEL', '{t}:up:u', '{t}:uf:0', '{t}:ufh:0');
is of_upload('d', 'take', 10, stored => 120, sum => 129), '1 1 0 130',
   'part: what the disk has counts';
is of_upload('d', 'take', 10, stored => 120, sum => 130), '0 0 130 10', 'or fits';
is redis('ZCARD', '{t}:ufh:0'), 1, 'part: a lost place is held again';
is of_upload('d', 'drop', 0), '0 0 120 0', 'gone';

is_deeply run('upload_end', ['uf:0', 'ufh:0', 'up:u'], 'u', 60000), [0], 'end'
    for 1 .. 2;
is used('uf:0'), '0 0 0', 'upload_end: nothing is used';
is redis('ZCARD', '{t}:ufh:0'), 0, 'nor held';
is of_upload('d', 'take', 10), '1 4 0', 'part: of an upload that has ended';
is of_upload('d', 'drop', 0), '1 4 0', 'nor this';
is used('uf:0'), '0 0 0', 'nothing is used';
cmp_ok redis('PTTL', '{t}:up:u'), '>', 30000, 'that goes by itself, too';

redis('SET', '{t}:up:u', 'x');
like of_upload('d', 'take', 10), qr/damaged/, 'part: a damaged record';
redis('DEL', '{t}:up:u');

# an upload that became a file keeps that place

hold('u', 100);
file('q8', 1, bytes => 100, upload => 'u');
run('upload_end', ['uf:0', 'ufh:0', 'up:u'], 'u', 60000);
is used('uf:0'), '1 100 100', 'upload_end: of a completed one';
erase('q8');
redis('DEL', '{t}:up:u');
is used('uf:0'), '0 0 0', 'none';
file('late', 1, bytes => 70);

is hold('u1', 1, of => 'b', sum => 10, number => 2), '0 0 1', 'a batch';
put('u1') for 1 .. 2;
put('u2', check => 0);
is used('ub:0'), '2 2 2', 'batch_put';
is redis('ZCARD', '{t}:ubh:0'), 0, 'nothing is held';
is hold('u3', 1, of => 'b', number => 2), '1 2 2', 'batches';
is hold('u1', 9, of => 'b', sum => 10, hold => 0), '0 0 10', 'its lines';
is hold('u2', 2, of => 'b', sum => 10, hold => 0), '1 1 10', 'too many';
is hold('u9', 0, of => 'b', hold => 0), '0 0 10', 'of no batch';
is used('ub:0'), '2 10 10', 'lines';
is redis('ZCARD', '{t}:ubh:0'), 0, 'nothing is held';
planned('u1', 9, 3) for 1 .. 2;
planned('u2', 5, 3);
is used('ub:0'), '2 14 14', 'planned: a rebuild counts them, whatever the limit';
final('u1', 'completed', files => ['o1', 'o2'], bytes => 5) for 1 .. 2;
put('u1');
planned('u1', 9, 3);
is used('ub:0'), '1 5 5', 'final: once';
is used('uf:0'), '3 80 80', 'final: its files count';
redis('DEL', '{t}:gen:s');
is hold('u3', 1), '2', 'hold: busy';
redis('SET', '{t}:gen:s', 1);

done_testing();
