package BatchRedisProxy;

# Copyright (C) the ngx_http_batch_module authors
#
# Between nginx and the real Redis, in a process of its own: passes commands
# and replies on, except where a fault says otherwise.
#
#     my $proxy = BatchRedisProxy->start("$dir/proxy.sock", "$dir/redis.sock");
#
#     $proxy->fault(on => 'batch_get', reply => "-OOM no memory\r\n");
#     ... $proxy->seen->{faults} ...
#     $proxy->clear;
#
# A fault, of which the last one set is in force, names in "on" what it is for:
# a regular expression that the whole name of a command has to match.  The name
# of a script is that of its file below src, without ".lua"; of any other
# command it is its first word, in capitals (PING, AUTH, INFO).  Default: every
# script.  And one of
#
#     reply   bytes instead of Redis' reply; Redis does not see the command,
#             unless "forward" is true
#     after   Redis' reply, and these bytes behind it
#     half    the first half of Redis' reply, and then nothing any more
#     cut     the first half of Redis' reply, and the connection's end
#     drop    the connection's end instead of a reply; "forward" as above
#     late    ms until Redis' reply is passed on; those behind it wait, too
#     drip    bytes at a time, 2 ms apart: no fault, all of it arrives
#
# and may say in "times" how often; then it is over.
#
# seen() tells what there was since the start: connections, open ones, commands
# by name, faults, and whether a fault is still in force.
#
# The process ends with stop(), or when the test does.

use strict;
use warnings;

use Digest::SHA qw(sha1_hex);
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use Time::HiRes qw(time);

use BatchLua;

my $Json = JSON::PP->new->canonical;
my @Bytes = qw(reply after);


sub start {
    my ($class, $path, $redis) = @_;

    unlink $path;

    my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 64)
        or die "$path: $!\n";

    chmod 0666, $path;

    socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC)
        or die "socketpair: $!\n";

    my $owner = $$;
    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        close $ours;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$path.log";
        open STDERR, '>&', \*STDOUT;
        $SIG{PIPE} = 'IGNORE';
        $SIG{__DIE__} = sub { print STDERR @_; POSIX::_exit(1) };

        serve($listener, $theirs, $redis);
        POSIX::_exit(0);
    }

    close $theirs;

    return bless { pid => $pid, path => $path, control => $ours,
                   owner => $owner }, $class;
}


sub stop {
    my ($self) = @_;

    return unless $self->{pid} && $self->{owner} == $$;

    my $status = $?;

    close $self->{control};
    waitpid $self->{pid}, 0;
    unlink $self->{path};
    delete $self->{pid};

    $? = $status;
}


sub DESTROY { $_[0]->stop }


sub fault {
    my ($self, %f) = @_;

    $f{on} //= '[a-z_]+';

    # bytes, and megabytes of them, are not for JSON

    for my $k (grep { defined $f{$_} } @Bytes) {
        open my $out, '>:raw', "$self->{path}.$k" or die "$k: $!\n";
        print $out $f{$k};
        close $out;
        $f{$k} = "$self->{path}.$k";
    }

    return $self->ask({ fault => \%f });
}


sub clear { return $_[0]->ask({ clear => 1 }) }
sub seen  { return $_[0]->ask({ seen => 1 }) }


# With the answer what was asked for holds.

sub ask {
    my ($self, $what) = @_;
    my $c = $self->{control};

    syswrite $c, $Json->encode($what) . "\n";

    my $line = '';

    while ($line !~ /\n/) {
        sysread $c, $line, 65536, length $line
            or die "the proxy of Redis has died, see $self->{path}.log\n";
    }

    return $Json->decode($line);
}


# --- the process -----------------------------------------------------------

my (%Scripts, $Fault, %Seen, %Conns, $Rset, $Wset);


sub scripts {
    my %text = BatchLua::scripts();

    %Scripts = map { sha1_hex($text{$_}) => $_ } keys %text;
}


sub serve {
    my ($listener, $control, $redis) = @_;
    my $asked = '';

    scripts();

    $Rset = IO::Select->new($listener, $control);
    $Wset = IO::Select->new;
    %Seen = (connections => 0, faults => 0, commands => {});

    while (1) {
        my ($r, $w) = IO::Select->select($Rset, $Wset, undef, next_due());

        for my $fh (@{ $r // [] }) {
            if ($fh == $listener) {
                accept_conn($listener, $redis);

            } elsif ($fh == $control) {
                sysread $control, $asked, 65536, length $asked or return;

                while ($asked =~ s/^(.*)\n//) {
                    syswrite $control, $Json->encode(answer($Json->decode($1)))
                                       . "\n";
                }

            } elsif (my $c = $Conns{$fh}) {
                $fh == $c->{client} ? from_client($c) : from_redis($c);
            }
        }

        for my $fh (@{ $w // [] }) {
            my $c = $Conns{$fh} or next;
            write_out($c, $fh);
        }

        flush_conn($_) for conns();
    }
}


sub answer {
    my ($q) = @_;

    if ($q->{fault}) {
        $Fault = $q->{fault};

        for my $k (grep { defined $Fault->{$_} } @Bytes) {
            open my $in, '<:raw', $Fault->{$k} or die "$Fault->{$k}: $!\n";
            local $/;
            $Fault->{$k} = <$in> // '';
        }
    }

    undef $Fault if $q->{clear};

    return { %Seen, open => scalar conns(), fault => $Fault ? 1 : 0 };
}


# each of them is known by both of its sockets

sub conns {
    my %by = map { $_ => $_ } values %Conns;
    return values %by;
}


sub accept_conn {
    my ($listener, $redis) = @_;
    my $client = $listener->accept or return;
    my $server = IO::Socket::UNIX->new(Peer => $redis);

    unless ($server) {
        close $client;
        return;
    }

    $_->blocking(0) for $client, $server;

    my $c = { client => $client, server => $server, in => '', back => '',
              to_client => '', to_server => '', slots => [] };

    $Conns{$client} = $Conns{$server} = $c;
    $Rset->add($client, $server);
    $Seen{connections}++;
}


sub close_conn {
    my ($c) = @_;

    for my $fh (@{$c}{qw(client server)}) {
        $Rset->remove($fh);
        $Wset->remove($fh);
        delete $Conns{$fh};
        close $fh;
    }

    $c->{closed} = 1;
}


# Where a reply or a command that begins at $pos ends; undef: not yet there.

sub resp_end {
    my ($buf, $pos) = @_;
    my $nl = index $$buf, "\r\n", $pos;

    return undef if $nl < 0;

    my $type = substr $$buf, $pos, 1;
    my $n = substr $$buf, $pos + 1, $nl - $pos - 1;

    $pos = $nl + 2;

    if ($type eq '$') {
        return $pos if $n < 0;
        return length $$buf >= $pos + $n + 2 ? $pos + $n + 2 : undef;
    }

    if ($type eq '*') {
        for (1 .. $n) {
            $pos = resp_end($buf, $pos) // return undef;
        }
    }

    return $pos;
}


sub command_name {
    my ($text) = @_;
    my ($word, $arg) = $text =~ /^\*\d+\r\n\$\d+\r\n([^\r]*)\r\n
                                 (?:\$\d+\r\n([0-9a-f]{40})\r\n)?/x;

    return $Scripts{$arg} // $arg if $word eq 'EVALSHA';

    if ($word eq 'EVAL') {
        my ($n) = $text =~ /^\*\d+\r\n\$\d+\r\n[^\r]*\r\n\$(\d+)\r\n/g;
        return $Scripts{sha1_hex(substr $text, $+[0], $n)} // 'unknown';
    }

    return uc $word;
}


sub from_client {
    my ($c) = @_;

    unless (sysread $c->{client}, $c->{in}, 65536, length $c->{in}) {
        close_conn($c) unless $!{EAGAIN};
        return;
    }

    while (length $c->{in} && defined(my $end = resp_end(\$c->{in}, 0))) {
        command($c, substr $c->{in}, 0, $end, '');
    }
}


sub command {
    my ($c, $text) = @_;
    my $name = command_name($text);
    my $slot = { due => 0 };

    $Seen{commands}{$name}++;
    push @{ $c->{slots} }, $slot;

    if ($Fault && $name =~ /^(?:$Fault->{on})$/) {
        my $f = $Fault;

        $Seen{faults}++;
        undef $Fault if defined $f->{times} && --$f->{times} <= 0;

        $slot->{fault} = $f;
        $slot->{due} = time() + $f->{late} / 1000 if $f->{late};

        if (defined $f->{reply} || $f->{drop}) {
            $slot->{data} = $f->{reply} // '';

            # Redis' own reply is then nobody's

            return unless $f->{forward};
            $slot->{ignore} = 1;
        }
    }

    $slot->{sent} = 1;
    $c->{to_server} .= $text;
    write_out($c, $c->{server});
}


sub from_redis {
    my ($c) = @_;

    unless (sysread $c->{server}, $c->{back}, 262144, length $c->{back}) {
        close_conn($c) unless $!{EAGAIN};
        return;
    }

    while (length $c->{back} && defined(my $end = resp_end(\$c->{back}, 0))) {
        my $data = substr $c->{back}, 0, $end, '';
        my ($slot) = grep { $_->{sent} && !$_->{came} } @{ $c->{slots} };

        # what had to come was told already, in another way
        next unless $slot;

        $slot->{came} = 1;
        next if $slot->{ignore};

        my $f = $slot->{fault} // {};

        $data .= $f->{after} if defined $f->{after};
        $data = substr $data, 0, int(length($data) / 2)
            if $f->{half} || $f->{cut};
        $slot->{data} = $data;
    }
}


sub next_due {
    my @due = map { $_->{next} ? $_->{next} : () } conns();

    for my $c (conns()) {
        my $slot = $c->{slots}[0] or next;
        push @due, $slot->{due} if defined $slot->{data} && $slot->{due};
    }

    return undef unless @due;

    my ($first) = sort { $a <=> $b } @due;
    my $left = $first - time();

    return $left > 0 ? $left : 0;
}


sub flush_conn {
    my ($c) = @_;

    return if $c->{closed};

    while (!$c->{mute} && @{ $c->{slots} }) {
        my $slot = $c->{slots}[0];
        my $f = $slot->{fault} // {};

        last unless defined $slot->{data};
        last if $slot->{due} > time();
        last if $slot->{ignore} && !$slot->{came};

        if ($f->{drip}) {
            last if ($c->{next} // 0) > time();
            $c->{to_client} .= substr $slot->{data}, 0, $f->{drip}, '';
            $c->{next} = time() + 0.002;
            write_out($c, $c->{client});
            return if $c->{closed};
            last if length $slot->{data};
            delete $c->{next};

        } else {
            $c->{to_client} .= $slot->{data};
        }

        shift @{ $c->{slots} };
        $c->{mute} = 1 if $f->{half} || $f->{cut} || $f->{drop};
        $c->{end} = 1 if $f->{cut} || $f->{drop};
    }

    write_out($c, $c->{client});

    close_conn($c)
        if !$c->{closed} && $c->{end} && !length $c->{to_client};
}


sub write_out {
    my ($c, $fh) = @_;
    my $buf = $fh == $c->{client} ? \$c->{to_client} : \$c->{to_server};

    return if $c->{closed};

    while (length $$buf) {
        my $n = syswrite $fh, $$buf, 262144;

        unless (defined $n) {
            last if $!{EAGAIN};
            close_conn($c);
            return;
        }

        substr $$buf, 0, $n, '';
    }

    length $$buf ? $Wset->add($fh) : $Wset->remove($fh);
}


1;
