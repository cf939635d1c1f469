package BatchHostile;

# Copyright (C) the ngx_http_batch_module authors
#
# Tables of hostile requests.  Each case is sent in one piece on a connection
# of its own, and again in segments of one byte; its answers are checked; then
# a good request must succeed on a new connection, and also on the same one
# if the answer has kept it.  What a table leaves behind is a failure.
#
#     use BatchHostile;                      behind BatchTest and BatchRaw
#
#     hostile('framing', @cases);            in a flow
#
# A case is a hash:
#
#     row      its number in the list of hostile inputs
#     name     what is special about it; tests are called "row N: name, how"
#
#   what is sent, one of
#     raw      the bytes, or code that returns them
#     request  [METHOD, PATH, body or undef, name => value of headers ...]
#     form     [parts of form()], sent to POST /v1/files
#
#     headers  [name => value ...] more of them, for request and form
#     chunk    the body of request or form goes in chunks of so many bytes
#     end      'close' or 'abort': what the client does instead of waiting
#              for an answer
#     drip     1: then a byte now and then, until there is an answer
#     split    0: only in one piece
#
#   what must come back
#     status   a number, or a list of numbers: as many answers one after the
#              other on the connection, the last of which is checked further
#     type, param, code, message
#              of the error: a string, undef (null), or a regex.  The type
#              need not be named if it follows from the status
#     kept     1: the connection must live on, 0: it must not.  Not given:
#              whatever the answer announces
#     head     1: the answer has no body
#     content  the bytes of the file that the upload has made
#     check    code that gets the answer, returns what is wrong as a list
#
# Every answer from 400 on must have the shape of OpenAI's errors.  A file that
# a POST has made is deleted again.
#
# The pieces, for tests that are no table:
#
#     form(boundary, parts)     a multipart body.  A part is a string (as it
#                               is, headers and all) or [name, data], or
#                               [name, data, filename]
#     raw_request(METHOD, PATH, body or undef, name => value ...)
#     complaints($answer, $case)
#                               what is wrong with the answer of one case
#     my $w = watch(keys => qr/.../, log => qr/.../);
#                               the state before: open files of the workers,
#                               Redis' keys, the log.  keys: may appear; log:
#                               lines of it that may
#     $w->leftovers('name')     one test each: the same workers, no more open
#                               files, nothing in tmp/, no blob without its
#                               manifest, no key more, no alert

use strict;
use warnings;

use BatchRaw ();
use BatchTest ();
use Exporter qw(import);
use Test::More ();

our @EXPORT = qw(hostile form raw_request complaints watch);

our @Keys = qw(code message param type);
our $Segments = 2500;                        # of one case, about


# --- what is sent ----------------------------------------------------------

sub form {
    my ($b, @parts) = @_;
    my $body = '';

    for my $p (@parts) {
        if (ref $p) {
            my ($name, $data, $file) = @$p;

            $p = qq(Content-Disposition: form-data; name="$name")
                 . (defined $file ? qq(; filename="$file") : '')
                 . "\r\n\r\n$data";
        }

        $body .= "--$b\r\n$p\r\n";
    }

    return "$body--$b--\r\n";
}


sub raw_request {
    my ($method, $path, $body, @headers) = @_;
    my $text = "$method $path HTTP/1.1\r\nHost: localhost\r\n";
    my $framed = 0;

    while (my ($k, $v) = splice @headers, 0, 2) {
        $text .= "$k: $v\r\n";
        $framed = 1 if $k =~ /^(content-length|transfer-encoding)$/i;
    }

    $text .= 'Content-Length: ' . length($body) . "\r\n"
        if defined $body && !$framed;

    return "$text\r\n" . ($body // '');
}


sub bytes {
    my ($case) = @_;
    my @headers = @{ $case->{headers} // [] };
    my ($method, $path, $body, @more);

    if (defined $case->{raw}) {
        return ref $case->{raw} ? $case->{raw}->() : $case->{raw};
    }

    if ($case->{form}) {
        ($method, $path) = ('POST', '/v1/files');
        $body = form('b0undary', @{ $case->{form} });
        @more = ('Content-Type' => 'multipart/form-data; boundary=b0undary')
            unless grep { lc eq 'content-type' } @headers;

    } else {
        ($method, $path, $body, @more) = @{ $case->{request} };
    }

    if ($case->{chunk}) {
        $body = join('', map { sprintf("%x\r\n%s\r\n", length, $_) }
                         unpack("(a$case->{chunk})*", $body)) . "0\r\n\r\n";
        push @more, 'Transfer-Encoding' => 'chunked';
    }

    return raw_request($method, $path, $body, @more, @headers);
}


# One byte a segment; more when it would be too many of them, but never the
# same number twice in a row.

sub send_split {
    my ($c, $bytes, $seed) = @_;
    my $max = int(2 * length($bytes) / $Segments);
    my $at = 0;

    srand $seed;

    while ($at < length $bytes) {
        my $n = $max < 2 ? 1 : 1 + int(rand($max));

        $c->send(substr $bytes, $at, $n) or return 0;
        $at += $n;
    }

    return 1;
}


# Thirty seconds at most.

sub drip {
    my ($c) = @_;

    for (1 .. 300) {
        my $r = '';

        vec($r, fileno $c->{s}, 1) = 1;
        return if select $r, undef, undef, 0.1;
        $c->send('x');
    }
}


# --- what comes back -------------------------------------------------------

sub differs {
    my ($is, $want) = @_;

    return defined $is ? 1 : 0 unless defined $want;
    return 1 unless defined $is;
    return ref $want ? $is !~ $want : $is ne $want;
}


sub shown {
    my ($text) = @_;

    return 'nothing' unless defined $text;
    $text = substr($text, 0, 300) . '...' if length $text > 300;
    $text =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;

    return "\"$text\"";
}


sub complaints {
    my ($r, $case) = @_;
    my @bad;

    return 'the answer is ' . shown($r->{raw_head} // $r->{body})
           . ', not ' . $case->{status}
        if $r->{status} != $case->{status};

    push @bad, error_complaints($r, $case) if $r->{status} >= 400;
    push @bad, $case->{check}->($r) if $case->{check};

    return @bad;
}


sub error_complaints {
    my ($r, $case) = @_;
    my ($h, @bad) = ($r->{headers});

    push @bad, 'Content-Type ' . shown($h->{'content-type'})
        if ($h->{'content-type'} // '') ne 'application/json';

    push @bad, 'X-Request-Id ' . shown($h->{'x-request-id'})
        if ($h->{'x-request-id'} // '') !~ /^[0-9a-f]{32}$/;

    return @bad if $case->{head};

    my $json = $r->{json} // eval { BatchTest::json_decode($r->{body}) };
    my $e = ref $json eq 'HASH' && ref $json->{error} eq 'HASH'
            ? $json->{error} : return (@bad, 'body ' . shown($r->{body}));

    push @bad, 'body ' . shown($r->{body})
        if join(' ', keys %$json) ne 'error'
           || join(' ', sort keys %$e) ne "@Keys"
           || !length($e->{message} // '');

    my $type = $r->{status} == 429 ? 'rate_limit_exceeded'
               : $r->{status} >= 500 ? 'server_error'
               : 'invalid_request_error';

    for (@Keys) {
        my $want = $case->{$_};

        next unless exists $case->{$_} || $_ eq 'type';
        $want //= $type if $_ eq 'type';
        push @bad, "$_ is " . shown($e->{$_}) . ', not ' . shown($want)
            if differs($e->{$_}, $want);
    }

    return @bad;
}


# 1: nothing but the end of the connection comes.

sub ended {
    my ($c) = @_;

    while (1) {
        return 0 if length $c->{in};

        my $r = '';
        vec($r, fileno $c->{s}, 1) = 1;
        return 0 if select($r, undef, undef, 15) <= 0;
        return 1 unless sysread $c->{s}, $c->{in}, 4096;
    }
}


sub connection_complaints {
    my ($c, $r, $case) = @_;
    my $says = lc($r->{headers}{connection} // 'keep-alive');
    my $kept = $case->{kept};

    return "Connection is $says"
        if defined $kept && ($says eq 'close') == ($kept ? 1 : 0);

    if ($says eq 'close') {
        return ended($c) ? () : ('bytes behind the last answer, or no end: '
                                 . shown($c->{in}));
    }

    return $c->alive ? () : 'the connection is out of step';
}


# The file that the answer tells of: has it these bytes?  Then it goes.

sub file_complaints {
    my ($r, $case) = @_;
    my $f = $r->{json};
    my @bad;

    return unless $r->{status} == 200 && ref $f eq 'HASH'
                  && ($f->{object} // '') eq 'file';

    if (defined $case->{content}) {
        my $data = BatchTest::content($f->{id});

        push @bad, 'the file has ' . shown($data)
            if differs($data, $case->{content});
        push @bad, "bytes is $f->{bytes}"
            if $f->{bytes} != length $case->{content};
    }

    my $d = BatchTest::http('DELETE', "/v1/files/$f->{id}");
    push @bad, "DELETE answers $d->{status}" if $d->{status} != 200;

    return @bad;
}


# --- a table ---------------------------------------------------------------

sub one {
    my ($case, $split) = @_;
    my $c = BatchRaw->new;
    my $bytes = bytes($case);
    my @status = ref $case->{status} ? @{ $case->{status} } : $case->{status};
    my ($r, @bad);

    if ($split) {
        send_split($c, $bytes, length $bytes);

    } else {
        $c->send($bytes);
    }

    drip($c) if $case->{drip};

    if ($case->{end}) {
        $case->{end} eq 'abort' ? $c->abort : close $c->{s};
        @status = ();
    }

    while (@status > 1) {
        my $want = shift @status;

        $r = $c->answer;
        return "an answer is $r->{status}, not $want"
            if $r->{status} != $want;
        push @bad, file_complaints($r, {});
    }

    if (@status) {
        $r = $c->answer(head => $case->{head});
        push @bad, complaints($r, { %$case, status => $status[0] });

        push @bad, connection_complaints($c, $r, $case) if $r->{status};
        push @bad, file_complaints($r, $case) if $bytes =~ /^POST /;
        close $c->{s};
    }

    push @bad, 'a good request fails afterwards' unless BatchRaw->new->alive;

    return @bad;
}


sub hostile {
    my ($name, @cases) = @_;
    my $w = watch();

    for my $case (@cases) {
        for my $split (0 .. (($case->{split} // 1) ? 1 : 0)) {
            my @bad = one($case, $split);

            Test::More::ok(!@bad, "row $case->{row}: $case->{name}, in "
                                  . ($split ? 'segments' : 'one piece'))
                or Test::More::diag(map { "    $_\n" } @bad);
        }
    }

    $w->leftovers($name);
}


# --- what stays ------------------------------------------------------------

# What a tenant's files and batches amount to is a key each, and stays; that a
# file was deleted is remembered for an hour.

our $counter = qr/\}:(?:(?:u[fb]|fd|be):[0-9a-z-]+|be)$/i;


sub watch {
    my (%o) = @_;
    my $self = bless { %o, log_at => length(BatchTest::error_log_text()),
                       pids => [BatchTest::nginx_workers()] };

    $self->{had} = { map { $_ => 1 } @{ BatchTest::redis('KEYS', '*') } };
    $self->{open} = { map { $_ => scalar(open_files($_)) }
                      @{ $self->{pids} } };

    return $self;
}


sub open_files {
    my ($pid) = @_;
    my @files = glob "/proc/$pid/fd/*";

    return map { (readlink // ()) } @files;
}


# Blobs that have no manifest, and are no longer being deleted either.

sub orphans {
    my $dir = BatchTest::store_dir();

    return grep { !m{\.(json|del)$} && !-e "$_.json" && !-e "$_.del" }
           glob "$dir/files/*/*";
}


sub leftovers {
    my ($self, $name) = @_;
    my $dir = BatchTest::store_dir();
    my (@more, @rest, @keys);

    Test::More::is("@{[ BatchTest::nginx_workers() ]}", "@{ $self->{pids} }",
                   "$name: the workers are the same");

    Test::More::ok(BatchTest::wait_until(sub {
        @more = grep { open_files($_) > $self->{open}{$_} } @{ $self->{pids} };
        return !@more;
    }, 20), "$name: no more open files")
        or Test::More::diag(map { join("\n", "worker $_ had "
                                  . $self->{open}{$_}, open_files($_), '') }
                            @more);

    Test::More::ok(BatchTest::wait_until(sub {
        @rest = (glob("$dir/tmp/*"), orphans());
        return !@rest;
    }, 10), "$name: nothing in tmp/, no blob without its manifest")
        or Test::More::diag(join "\n", @rest);

    Test::More::ok(BatchTest::wait_until(sub {
        @keys = grep { !$self->{had}{$_} && $_ !~ $counter
                       && !($self->{keys} && $_ =~ $self->{keys}) }
                @{ BatchTest::redis('KEYS', '*') };
        return !@keys;
    }, 10), "$name: no key more in Redis")
        or Test::More::diag(join "\n", @keys);

    my $log = substr BatchTest::error_log_text(), $self->{log_at};
    my @lines = grep { /\[(alert|crit|emerg)\]|exited on signal|runtime error:/
                       && !($self->{log} && $_ =~ $self->{log}) }
                split /\n/, $log;

    Test::More::is(join("\n", @lines), '', "$name: no alert");
}

1;
