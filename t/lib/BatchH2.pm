package BatchH2;

# Copyright (C) the ngx_http_batch_module authors
#
# A connection of HTTP/2 without TLS, frame by frame: half uploads, several at a
# time, windows that are full.  The library packs and unpacks headers; frames
# are made here, because tests break what a client would do.
#
#     my $c = BatchH2->new(port => N, window => 65535);
#     my $id = $c->open('POST', '/v1/files', [K => V, ...], end => 0);
#     my $n = $c->data($id, $bytes, end => 1);   how many of them went out until
#                                                the stream was closed, or no
#                                                window came in {patience} s
#     my $r = $c->answer($id);                   as BatchTest::http() returns it,
#                                                and {reset} the code, if it was
#     $c->request($method, $path, $body, [...])  all of that
#     $c->frame($type, $flags, $id, $payload)
#     $c->alive                                  1 if it serves another request
#     $c->give($id, $bytes)                      window, if {hold} is set

use strict;
use warnings;

use BatchSchema ();
use BatchTest ();
use IO::Socket::INET;
use Protocol::HTTP2::Connection;
use Protocol::HTTP2::Constants qw(CLIENT);
use Protocol::HTTP2::HeaderCompression qw(headers_decode headers_encode);
use Time::HiRes qw(time);

use constant { DATA => 0, HEADERS => 1, RST => 3, SETTINGS => 4, PING => 6,
               GOAWAY => 7, WINDOW => 8, CONTINUATION => 9 };
use constant { END_STREAM => 1, ACK => 1, END_HEADERS => 4, PADDED => 8 };


sub new {
    my ($class, %o) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => $o{port})
        or die "connect: $!\n";

    binmode $s;
    $s->blocking(0);

    my $self = bless {
        s => $s, in => '', out => '', next => 1, streams => {},
        window => 65535, initial => 65535, patience => $o{patience} // 15,
        hold => $o{hold}, hpack => Protocol::HTTP2::Connection->new(CLIENT),
    }, $class;

    $self->{out} = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    $self->frame(SETTINGS, 0, 0, pack('nN', 4, $o{window} // 65535));
    $self->frame(WINDOW, 0, 0, pack 'N', 0x3fffffff) unless $o{hold};

    return $self;
}


sub frame {
    my ($self, $type, $flags, $id, $payload) = @_;

    $self->{out} .= substr(pack('N', length $payload), 1)
                    . pack('CCN', $type, $flags, $id) . $payload;
}


# Sends what is to be sent and reads what there is; 0 if nothing comes within
# the seconds, or the server has closed.

sub turn {
    my ($self, $seconds) = @_;
    my $end = time() + $seconds;

    local $SIG{PIPE} = 'IGNORE';

    while (!$self->{closed}) {
        my ($r, $w) = ('', '');

        vec($r, fileno $self->{s}, 1) = 1;
        vec($w, fileno $self->{s}, 1) = 1 if length $self->{out};

        my $left = $end - time();
        return 0 if $left <= 0;
        next if select($r, $w, undef, $left) <= 0;

        if (length $self->{out} && vec($w, fileno $self->{s}, 1)) {
            my $n = syswrite $self->{s}, $self->{out}, 262144;
            substr $self->{out}, 0, $n // 0, '';
        }

        if (vec($r, fileno $self->{s}, 1)) {
            my $n = sysread $self->{s}, $self->{in}, 262144,
                            length $self->{in};

            $self->{closed} = 1 if defined $n ? $n == 0 : !$!{EAGAIN};
            return 1 if $n && $self->parse;
        }
    }

    return 0;
}


# Sends all that is to be sent, and looks at nothing.

sub flush {
    my ($self) = @_;

    $self->turn(0.02) while length $self->{out} && !$self->{closed};
}


sub parse {
    my ($self) = @_;
    my $n = 0;

    while (length $self->{in} >= 9) {
        my $len = unpack 'N', "\0" . substr $self->{in}, 0, 3;
        my ($type, $flags, $id) = unpack 'CCN', substr $self->{in}, 3, 6;

        last if length $self->{in} < 9 + $len;

        my $payload = substr $self->{in}, 9, $len;
        substr $self->{in}, 0, 9 + $len, '';
        $self->take($type, $flags, $id, $payload);
        $n++;
    }

    return $n;
}


sub take {
    my ($self, $type, $flags, $id, $payload) = @_;
    my $s = $self->{streams}{$id};

    if ($type == SETTINGS && !($flags & ACK)) {
        my %set = unpack '(nN)*', $payload;

        if (defined $set{4}) {
            $_->{window} += $set{4} - $self->{initial}
                for values %{ $self->{streams} };
            $self->{initial} = $set{4};
        }

        $self->frame(SETTINGS, ACK, 0, '');

    } elsif ($type == PING && !($flags & ACK)) {
        $self->frame(PING, ACK, 0, $payload);

    } elsif ($type == WINDOW) {
        ($id ? $s : $self)->{window} += unpack 'N', $payload;

    } elsif ($type == GOAWAY) {
        $self->{goaway} = unpack 'x4N', $payload;

    } elsif ($type == RST) {
        $s->{reset} = unpack 'N', $payload;
        $s->{over} = 1;

    } elsif ($type == HEADERS || $type == CONTINUATION) {
        $s->{block} .= $payload;

        if ($flags & END_HEADERS) {
            my $context = $self->{hpack}->decode_context;

            $context->{emitted_headers} = [];
            headers_decode($self->{hpack}, \$s->{block}, 0,
                           length $s->{block}, $id)
                // die "a block of headers is malformed\n";
            $s->{headers} = [@{ $context->{emitted_headers} }];
            $s->{block} = '';
        }

        $s->{answered} = 1;
        $s->{over} = 1 if $flags & END_STREAM;

    } elsif ($type == DATA) {
        $s->{body} .= $payload;
        $s->{over} = 1 if $flags & END_STREAM;
        $self->give($id, length $payload)
            unless $self->{hold} || !length $payload;
    }
}


sub give {
    my ($self, $id, $n) = @_;

    $self->frame(WINDOW, 0, $_, pack 'N', $n) for 0, $id;
}


sub open {
    my ($self, $method, $path, $headers, %o) = @_;
    my $id = $self->{next};

    $self->{next} += 2;
    $self->{streams}{$id} = { window => $self->{initial}, body => '',
                              block => '', headers => [] };

    $self->frame(HEADERS, END_HEADERS | ($o{end} ? END_STREAM : 0), $id,
                 headers_encode($self->{hpack}->encode_context,
                                [':method' => $method, ':scheme' => 'http',
                                 ':authority' => 'localhost',
                                 ':path' => $path, @{ $headers // [] }]));
    return $id;
}


sub data {
    my ($self, $id, $bytes, %o) = @_;
    my $s = $self->{streams}{$id};
    my $step = $o{step} // 16384;
    my $sent = 0;

    while ($sent < length $bytes && !$s->{over}) {
        my ($n) = sort { $a <=> $b } $step, length($bytes) - $sent,
                                     $s->{window}, $self->{window};

        if ($n <= 0) {
            $self->turn($o{patience} // $self->{patience}) or last;
            next;
        }

        $self->frame(DATA, $o{end} && $sent + $n == length $bytes
                           ? END_STREAM : 0, $id, substr $bytes, $sent, $n);
        $sent += $n;
        $s->{window} -= $n;
        $self->{window} -= $n;
        $self->turn(0) if length $self->{out} > 65536;
        $self->flush if length $self->{out} > 65536;
    }

    $self->frame(DATA, END_STREAM, $id, '') if $o{end} && !length $bytes;

    return $sent;
}


sub answer {
    my ($self, $id) = @_;
    my $s = $self->{streams}{$id};

    while (!$s->{over}) {
        $self->turn($self->{patience}) or last;
    }

    my @h = @{ $s->{headers} };
    my %h;

    while (my ($k, $v) = splice @h, 0, 2) {
        $h{$k} = $v;
    }

    my $r = { status => delete $h{':status'} // 0, headers => \%h,
              body => $s->{body}, reset => $s->{reset}, over => $s->{over},
              json => scalar eval { BatchTest::json_decode($s->{body}) } };

    BatchSchema::answer($r);

    return $r;
}


sub request {
    my ($self, $method, $path, $body, $headers, %o) = @_;
    my $id = $self->open($method, $path, $headers, end => !defined $body);

    $self->data($id, $body, %o, end => 1) if defined $body;

    return $self->answer($id);
}


sub alive {
    my ($self) = @_;
    my $r = $self->request('GET', '/v1/files?limit=0');

    return $r->{status} == 200 && $r->{json}{object} eq 'list' ? 1 : 0;
}

1;
