package BatchStream;

# Copyright (C) the ngx_http_batch_module authors
#
# An inference server whose answers are larger than one may want to keep in
# memory, which the mock does.  What it answers is the line's own wish:
#
#     "answer": ["length", n]    Content-Length: n, and a string that long
#               ["chunked", n]   the same in chunks, without saying how much
#               ["blank", n]     an object, and n blanks behind it, in chunks
#
# n is the length of the body.  Without a wish the answer is a small object.  A
# process for each connection, one request each.
#
#     my $s = BatchStream->start($path);      # a unix socket
#     my @sent = $s->sent;                    # [kind, bytes of the body], in
#                                             # the order of their ends

use strict;
use warnings;

use IO::Socket::UNIX;
use POSIX ();

my $Block = 1 << 20;


sub start {
    my ($class, $path) = @_;

    unlink $path, "$path.sent";

    my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 64)
        or die "$path: $!\n";

    chmod 0666, $path;

    my $owner = $$;
    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        setpgrp;
        $SIG{CHLD} = 'IGNORE';
        $SIG{PIPE} = 'IGNORE';
        $SIG{TERM} = 'DEFAULT';
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$path.log";
        open STDERR, '>&', \*STDOUT;

        while (my $c = $listener->accept) {
            my $child = fork() // die "fork: $!\n";
            next if $child;
            one($c, $path);
            POSIX::_exit(0);
        }

        POSIX::_exit(0);
    }

    return bless { pid => $pid, path => $path, owner => $owner }, $class;
}


sub stop {
    my ($self) = @_;

    return unless $self->{pid} && $self->{owner} == $$;

    my $status = $?;

    kill 'TERM', -$self->{pid} or kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
    unlink $self->{path};
    delete $self->{pid};

    $? = $status;
}


sub DESTROY { $_[0]->stop }


sub sent {
    my ($self) = @_;

    open my $in, '<', "$self->{path}.sent" or return;
    return map { [split] } <$in>;
}


sub one {
    my ($c, $path) = @_;
    my $in = '';

    until ($in =~ /\r\n\r\n/) {
        sysread $c, $in, 65536, length $in or return;
    }

    my ($length) = $in =~ /^Content-Length: (\d+)\r$/mi;
    my $head = $+[0] if $in =~ /\r\n\r\n/;

    while (length($in) < $head + ($length // 0)) {
        sysread $c, $in, 65536, length $in or return;
    }

    my ($kind, $n) = $in =~ /"answer":\["(\w+)",(\d+)\]/;

    if (!$kind) {
        my $body = '{"object":"chat.completion","usage":{"prompt_tokens":1}}';
        give($c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                 . 'Content-Length: ' . length($body)
                 . "\r\nConnection: close\r\n\r\n$body");
        return;
    }

    my $sent = stream($c, $kind, $n);

    open my $out, '>>', "$path.sent" or die "$path.sent: $!\n";
    syswrite $out, "$kind $sent\n";
}


# the bytes of the body that could be written

sub stream {
    my ($c, $kind, $n) = @_;
    my ($front, $fill, $end) = $kind eq 'blank' ? ('{"text":""}', ' ', '')
                                                : ('{"text":"', 'x', '"}');
    my $chunked = $kind ne 'length';
    my $block = $fill x $Block;
    my $left = $n - length($front) - length($end);
    my $sent = 0;

    my $piece = sub {
        my $ok = give($c, $chunked
                      ? sprintf("%x\r\n", length $_[0]) . "$_[0]\r\n" : $_[0]);
        $sent += length $_[0] if $ok;
        return $ok;
    };

    give($c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
             . ($chunked ? 'Transfer-Encoding: chunked' : "Content-Length: $n")
             . "\r\nConnection: close\r\n\r\n")
        && $piece->($front) or return $sent;

    while ($left > 0) {
        my $b = $left < $Block ? substr($block, 0, $left) : $block;
        $piece->($b) or return $sent;
        $left -= length $b;
    }

    $piece->($end) or return $sent if length $end;
    give($c, "0\r\n\r\n") if $chunked;

    return $sent;
}


sub give {
    my ($c, $bytes) = @_;
    my $at = 0;

    while ($at < length $bytes) {
        my $n = syswrite($c, $bytes, length($bytes) - $at, $at) or return 0;
        $at += $n;
    }

    return 1;
}


1;
