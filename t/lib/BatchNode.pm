package BatchNode;

# Copyright (C) the ngx_http_batch_module authors
#
# Further nodes beside BatchTest's nginx: each a master with workers of its own,
# with the block's configuration, the same store and the same Redis.  A node
# reaches Redis through a relay, which can be cut.
#
#     my $n = BatchNode->start('two');     # $n->{port}
#     $n->api('GET', '/v1/batches');
#     $n->cut; $n->mend;                   # from Redis only
#     $n->signal('HUP'); $n->stop('KILL');
#
# Whatever is left when a node is no longer referred to is ended.

use strict;
use warnings;

use BatchTest qw(test_dir server_port slurp wait_until);
use File::Path qw(make_path remove_tree);
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOCK_STREAM SOMAXCONN);


sub start {
    my ($class, $name) = @_;
    my $dir = test_dir();
    my $root = "$dir/$name";
    my $self = bless { name => $name, root => $root, owner => $$,
                       port => BatchTest::free_port(),
                       sock => "$dir/$name.sock" }, $class;

    remove_tree($root);
    make_path("$root/logs", "$root/conf");
    chmod 0755, $root, "$root/logs";
    $self->mend;

    my $text = slurp("$dir/servroot/conf/nginx.conf");
    my $own = server_port();

    $text =~ s/\b127\.0\.0\.1:$own\b/127.0.0.1:$self->{port}/g;
    $text =~ s{$dir/servroot\b}{$root}g;
    $text =~ s{^(\s*batch_redis\s+)\S+?(;| )}{${1}unix:$self->{sock}$2}m
        or die "no batch_redis in the configuration\n";

    open my $out, '>', "$root/conf/nginx.conf" or die "$root: $!\n";
    print $out $text;
    close $out;

    system($BatchTest::Binary, '-p', "$root/", '-c', "$root/conf/nginx.conf",
           '-e', "$root/logs/error.log") == 0
        or die "node $name does not start, see $root/logs/error.log\n";

    wait_until(sub { $self->ready }, 20) or die "node $name is not ready\n";

    return $self;
}


sub api  { my $n = shift; return BatchTest::api(@_[0 .. 2], port => $n->{port},
                                                @_[3 .. $#_]) }

sub ready {
    my ($self) = @_;
    my $status = $self->api('GET', '/batch-status', undef, timeout => 5)->{json};

    return ref $status && $status->{redis} eq 'ready'
           && $self->api('GET', '/v1/files?limit=1')->{status} == 200;
}

sub status { return $_[0]->api('GET', '/batch-status')->{json} }
sub log    { return slurp("$_[0]{root}/logs/error.log") // '' }


sub master {
    my ($self) = @_;
    my $pid = slurp("$self->{root}/logs/nginx.pid") // return undef;

    return $pid =~ /^(\d+)/ ? $1 : undef;
}

sub pids {
    my ($self) = @_;
    my $master = $self->master // return;
    my @pids = ($master);

    for my $stat (glob '/proc/[0-9]*/stat') {
        my $text = slurp($stat) // next;
        push @pids, $1 if $text =~ /^(\d+) \(.*\) \S (\d+)/ && $2 == $master;
    }

    return @pids;
}

sub signal { kill $_[1], $_[0]->master }


# KILL: the whole node at once, as when its machine is gone

sub stop {
    my ($self, $sig) = @_;
    my @pids = $self->pids;

    kill $sig, $sig eq 'KILL' ? @pids : @pids[0 .. ($#pids < 0 ? -1 : 0)];

    my $gone = wait_until(sub {
        !grep { kill(0, $_) && (slurp("/proc/$_/stat") // '')
                !~ /^\d+ \(.*\) Z/ } @pids }, 15);

    kill 'KILL', @pids unless $gone;
    unlink "$self->{root}/logs/nginx.pid";

    return $gone;
}


# --- the relay

sub cut {
    my ($self) = @_;
    my $pid = delete $self->{relay} or return;

    kill 'KILL', $pid;
    waitpid $pid, 0;
    unlink $self->{sock};
}


sub mend {
    my ($self) = @_;

    return if $self->{relay};

    unlink $self->{sock};
    my $in = IO::Socket::UNIX->new(Type => SOCK_STREAM, Listen => SOMAXCONN,
                                   Local => $self->{sock})
        or die "$self->{sock}: $!\n";
    chmod 0777, $self->{sock};

    $self->{relay} = fork() // die "fork: $!\n";

    if ($self->{relay} == 0) {
        eval { relay($in, test_dir() . '/redis.sock') };
        POSIX::_exit(0);
    }

    close $in;
}


sub relay {
    my ($in, $to) = @_;
    my $all = IO::Select->new($in);
    my $parent = getppid();
    my %peer;

    local $SIG{PIPE} = 'IGNORE';

    while (getppid() == $parent) {

        for my $s ($all->can_read(1)) {

            if ($s == $in) {
                my $c = $in->accept or next;
                my $r = IO::Socket::UNIX->new(Peer => $to);
                if (!$r) { close $c; next }
                @peer{fileno($c), fileno($r)} = ($r, $c);
                $all->add($c, $r);
                next;
            }

            my $p = $peer{fileno $s} or next;
            my $n = sysread $s, my $data, 65536;

            while ($n && length $data) {
                my $done = syswrite $p, $data;
                if (!defined $done) { $n = 0; last }
                substr $data, 0, $done, '';
            }

            if (!$n) {
                delete @peer{fileno($s), fileno($p)};
                $all->remove($s, $p);
                close $_ for $s, $p;
            }
        }
    }
}


sub DESTROY {
    my ($self) = @_;

    return unless $self->{owner} == $$;

    local ($?, $!, $@);
    $self->stop('KILL') if $self->master;
    $self->cut;
}


1;
