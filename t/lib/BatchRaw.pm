package BatchRaw;

# Copyright (C) the ngx_http_batch_module authors
#
# A connection whose bytes the test writes itself: pieces, half requests,
# several requests one after another.
#
#     my $c = BatchRaw->new;                 the server under test
#     my $c = BatchRaw->new(port => N);      another one
#     $c->send($bytes, step => 1);           in pieces of so many bytes
#     my $r = $c->answer;                    as BatchTest::http() returns it
#     $c->alive                              1 if it serves another request
#     $c->abort                              closes it with a reset
#
# Flows of files that use this module begin when every worker has its link to
# Redis: until then the API answers 503, as it should.

use strict;
use warnings;

use BatchSchema ();
use BatchTest ();
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY SOL_SOCKET SO_LINGER);

sub import {
    Test::Nginx::Util::add_block_preprocessor(sub {
        my ($block) = @_;

        $block->set_value(flow => 'BatchRaw::ready(); ' . $block->flow)
            if defined $block->flow;
    });
}


# Any worker may take a connection: so many answers in a row are from all.

sub ready {
    my $path = shift // '/v1/files';
    my $n = 0;

    BatchTest::wait_until(sub {
        my $r = BatchTest::http('GET', "$path?limit=1",
                                headers => \@BatchTest::Nobody);

        $n = $r->{status} == 503 ? 0 : $n + 1;
        return $n == 20;
    }, 15);
}


sub new {
    my ($class, %o) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => $o{port}
                                              // BatchTest::server_port())
        or die "connect: $!\n";

    setsockopt $s, IPPROTO_TCP, TCP_NODELAY, 1;
    binmode $s;

    return bless { s => $s, in => '' }, $class;
}


sub send {
    my ($self, $bytes, %o) = @_;
    my $step = $o{step} // 65536;

    local $SIG{PIPE} = 'IGNORE';

    for (my $at = 0; $at < length $bytes; $at += $step) {
        my $piece = substr $bytes, $at, $step;

        while (length $piece) {
            my $n = syswrite $self->{s}, $piece;
            return 0 unless defined $n;
            substr $piece, 0, $n, '';
        }

        select undef, undef, undef, $o{delay} if $o{delay};
    }

    return 1;
}


sub fill {
    my ($self) = @_;
    my $r = '';

    vec($r, fileno $self->{s}, 1) = 1;
    return 0 unless select $r, undef, undef, 15;

    return sysread $self->{s}, $self->{in}, 262144, length $self->{in};
}


# Answers of this API always have a Content-Length, or no body.

sub answer {
    my ($self, %o) = @_;
    my ($head, $body);

    while (1) {
        my $at = index $self->{in}, "\r\n\r\n";

        if ($at < 0) {
            $self->fill or return { status => 0, headers => {}, body => '' };
            next;
        }

        $head = substr $self->{in}, 0, $at + 4, '';
        next if $head =~ m{^HTTP/1\.1 100 };
        last;
    }

    my ($n) = $head =~ /^content-length: *(\d+)/mi;
    $n = 0 if $o{head} || !defined $n || $head =~ m{^HTTP/1\.1 304 };

    while (length $self->{in} < $n) {
        last unless $self->fill;
    }

    $body = substr $self->{in}, 0, $n, '';

    my $r = BatchTest::parse_answer($head . $body);
    $r->{json} = eval { BatchTest::json_decode($r->{body}) };
    BatchSchema::answer($r);

    return $r;
}


sub request {
    my ($self, $method, $path, $body, %o) = @_;
    my @h = @{ $o{headers} // [] };
    my $text = "$method $path HTTP/1.1\r\nHost: localhost\r\n";

    while (my ($k, $v) = splice @h, 0, 2) {
        $text .= "$k: $v\r\n";
    }

    if (defined $body && $o{chunk}) {
        $text .= "Transfer-Encoding: chunked\r\n";
        $body = join('', map { sprintf("%x\r\n%s\r\n", length, $_) }
                         unpack("(a$o{chunk})*", $body)) . "0\r\n\r\n";

    } elsif (defined $body) {
        $text .= 'Content-Length: ' . length($body) . "\r\n";
    }

    $self->send("$text\r\n" . ($body // ''), %o);

    return $self->answer(head => $method eq 'HEAD');
}


sub alive {
    my ($self) = @_;
    my $r = $self->request('GET', '/v1/files?limit=0');

    return $r->{status} == 200 && $r->{json}{object} eq 'list' ? 1 : 0;
}


sub abort {
    my ($self) = @_;

    setsockopt $self->{s}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
    close $self->{s};
}

1;
