package BatchClient;

# Copyright (C) the ngx_http_batch_module authors
#
# A small client of the API: one request, an upload, a batch from its file to
# its end, its results.  BatchTest has all of it under the same names; a test
# uses that.

use strict;
use warnings;

use BatchSchema ();
use Exporter qw(import);
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP ();
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
    http api upload create_batch get_batch wait_batch run_batch cancel_batch
    content output_lines error_lines by_id jsonl json_decode json_encode
    multipart wait_until error_body parse_answer
);

our $Port;                       # of the server under test
our $Json = JSON::PP->new->utf8->canonical;


sub json_decode { return $Json->decode($_[0]) }
sub json_encode { return $Json->encode($_[0]) }


# Until the code returns true; its value, or undef after the seconds.

sub wait_until {
    my ($code, $seconds) = @_;
    my $end = time() + ($seconds // 10);

    while (1) {
        my $value = $code->();
        return $value if $value;
        return undef if time() > $end;
        sleep 0.03;
    }
}


# One request, on a connection of its own.
#
#     http('POST', '/v1/batches', body => '{...}', headers => [K => V, ...],
#          timeout => 30, port => N, chunked => 1, unix => PATH)
#
# returns { status, reason, headers => { lower-case => last value }, body,
# raw_head } or, when there is no answer, { status => 0, error => ... }.

sub http {
    my ($method, $path, %o) = @_;
    my $end = time() + ($o{timeout} // 30);

    my $s = $o{unix}
        ? IO::Socket::UNIX->new(Peer => $o{unix})
        : IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                PeerPort => $o{port} // $Port);

    return { status => 0, error => "connect: $!", headers => {}, body => '' }
        unless $s;

    binmode $s;

    my @headers = @{ $o{headers} // [] };
    my %given = @headers;
    my %have = map { lc($_) => 1 } keys %given;
    my $head = "$method $path HTTP/1.1\r\n";

    $head .= "Host: localhost\r\n" unless $have{host};
    $head .= "Connection: close\r\n" unless $have{connection};

    for (my $i = 0; $i < @headers; $i += 2) {
        $head .= "$headers[$i]: $headers[$i + 1]\r\n";
    }

    my $body = $o{body};

    if (defined $body && $o{chunked}) {
        $head .= "Transfer-Encoding: chunked\r\n";
        my $n = $o{chunked} > 1 ? $o{chunked} : 4000;
        $body = join('', map { sprintf("%x\r\n%s\r\n", length, $_) }
                         unpack("(a$n)*", $body)) . "0\r\n\r\n";

    } elsif (defined $body && !$have{'content-length'}) {
        $head .= 'Content-Length: ' . length($body) . "\r\n";
    }

    local $SIG{PIPE} = 'IGNORE';

    my $out = "$head\r\n" . ($body // '');
    my $sent = 0;
    my $in = '';
    my $error;

    # writes and reads together: an early answer is an answer, too

    $s->blocking(0);

    while (1) {
        my ($r, $w) = ('', '');
        vec($r, fileno $s, 1) = 1;
        vec($w, fileno $s, 1) = 1 if $sent < length $out;

        my $left = $end - time();
        if ($left <= 0) { $error = 'timed out'; last }

        next if select($r, $w, undef, $left) <= 0;

        if ($sent < length $out && vec($w, fileno $s, 1)) {
            my $n = syswrite $s, $out, 262144, $sent;
            if (defined $n) { $sent += $n }
            elsif (!$!{EAGAIN}) { $sent = length $out }
        }

        if (vec($r, fileno $s, 1)) {
            my $n = sysread $s, $in, 262144, length $in;
            if (!defined $n) {
                next if $!{EAGAIN};
                $error = "read: $!";
                last;
            }
            last if $n == 0;
            last if complete($method, $in);
        }
    }

    close $s;

    return parse_answer($in, $error);
}


# An answer with Content-Length may end before its connection does.

sub complete {
    my ($method, $in) = @_;

    my $at = index $in, "\r\n\r\n";
    return 0 if $at < 0 || substr($in, 9, 1) eq '1';
    return 1 if $method eq 'HEAD' || substr($in, 9, 3) =~ /204|304/;

    return substr($in, 0, $at) =~ /^content-length: *(\d+)/mi
           && length($in) >= $at + 4 + $1;
}


sub parse_answer {
    my ($in, $error) = @_;

    $in =~ s/^HTTP\/1\.1 100 [^\r]*\r\n\r\n//;

    my $at = index $in, "\r\n\r\n";

    return { status => 0, error => $error // 'no answer', headers => {},
             body => $in }
        if $at < 0;

    my $head = substr $in, 0, $at;
    my $body = substr $in, $at + 4;
    my ($first, @lines) = split /\r\n/, $head;
    my ($status, $reason) = $first =~ m{^HTTP/1\.\d (\d+) ?(.*)};
    my %h;

    for (@lines) {
        my ($k, $v) = split /:\s*/, $_, 2;
        $h{lc $k} = $v;
    }

    if (($h{'transfer-encoding'} // '') eq 'chunked') {
        my ($data, $pos) = ('', 0);

        pos($body) = 0;
        while ($body =~ /\G([0-9a-fA-F]+)[^\r]*\r\n/gc) {
            my $n = hex $1;
            last if $n == 0;
            $data .= substr $body, pos($body), $n;
            pos($body) = pos($body) + $n + 2;
        }

        $body = $data;
    }

    return { status => $status // 0, reason => $reason, headers => \%h,
             body => $body, raw_head => $head, error => $error };
}


# http() and the decoded JSON of the answer, in {json} too; a hash or an
# array as third argument is sent as JSON.

sub api {
    my ($method, $path, $data, %o) = @_;

    if (defined $data) {
        $o{body} = ref $data ? json_encode($data) : $data;
        $o{headers} = [@{ $o{headers} // [] },
                       'Content-Type' => 'application/json'];
    }

    my $r = http($method, $path, %o);
    $r->{json} = eval { json_decode($r->{body}) };
    BatchSchema::answer($r);

    return $r;
}


# The whole of an error's body, as JSON decodes; without a type that of 4xx.

sub error_body {
    my ($message, $param, $code, $type) = @_;

    return { error => { message => $message, param => $param, code => $code,
                        type => $type // 'invalid_request_error' } };
}


# A multipart body and its Content-Type: pairs of name and value, the value a
# string or { data, filename, type }.

sub multipart {
    my @parts = @_;
    my $b = '----batch' . int(rand(1e9));
    my $body = '';

    while (my ($name, $v) = splice @parts, 0, 2) {
        $v = { data => $v } unless ref $v;
        $body .= "--$b\r\nContent-Disposition: form-data; name=\"$name\"";
        $body .= "; filename=\"$v->{filename}\"" if defined $v->{filename};
        $body .= "\r\nContent-Type: $v->{type}" if defined $v->{type};
        $body .= "\r\n\r\n$v->{data}\r\n";
    }

    return ("$body--$b--\r\n", "multipart/form-data; boundary=$b");
}


# Uploads a JSONL; options: filename, purpose, fields => [name => value ...],
# file_first, and those of http().  Returns the answer, file object in {json}.

sub upload {
    my ($data, %o) = @_;
    my @file = (file => { data => $data,
                          filename => delete $o{filename} // 'in.jsonl',
                          type => 'application/octet-stream' });
    my @fields = (purpose => delete $o{purpose} // 'batch',
                  @{ delete $o{fields} // [] });
    my ($body, $type) = multipart(delete $o{file_first}
                                  ? (@file, @fields) : (@fields, @file));

    return api('POST', '/v1/files', undef, %o, body => $body,
               headers => [@{ $o{headers} // [] }, 'Content-Type' => $type]);
}


# Creates a batch of an uploaded file's id; further fields as pairs, http =>
# [options of http()].

sub create_batch {
    my ($file, %fields) = @_;
    my @http = @{ delete $fields{http} // [] };

    return api('POST', '/v1/batches',
               { input_file_id => $file, endpoint => '/v1/chat/completions',
                 completion_window => '24h', %fields }, @http);
}


sub get_batch {
    my ($id, @http) = @_;

    return api('GET', "/v1/batches/$id", undef, @http)->{json};
}


sub cancel_batch {
    my ($id, @http) = @_;

    return api('POST', "/v1/batches/$id/cancel", undef, @http, body => '');
}


# Polls until a status that ends a batch (or one that the expression "until"
# matches) and returns the last batch object; checks on the way that counts
# never fall and that each time, once set, stays.

sub wait_batch {
    my ($id, %o) = @_;
    my $until = $o{until} // qr/^(completed|failed|expired|cancelled)$/;
    my $end = time() + ($o{timeout} // 30);
    my ($b, %was);

    while (time() < $end) {
        my $r = api('GET', "/v1/batches/$id", undef, @{ $o{http} // [] });
        my $now = $r->{json};

        if ($r->{status} == 503) {
            sleep 0.1;
            next;
        }

        unless ($r->{status} == 200 && ref $now) {
            Test::More::fail("batch $id answers $r->{status}: $r->{body}");
            return $b;
        }

        $b = $now;

        for my $k (qw(total completed failed)) {
            my $n = $b->{request_counts}{$k} // 0;
            Test::More::fail("$k of $id falls from $was{$k} to $n")
                if defined $was{$k} && $n < $was{$k};
            $was{$k} = $n;
        }

        for my $k (grep { /_at$/ && $_ ne 'expires_at' } keys %$b) {
            Test::More::fail("$k of $id changes from $was{$k} to "
                             . ($b->{$k} // 'null'))
                if defined $was{$k} && $was{$k} ne ($b->{$k} // 'null');
            $was{$k} = $b->{$k};
        }

        return $b if $b->{status} =~ $until;
        sleep 0.05;
    }

    Test::More::diag("batch $id is still "
                     . ($b ? json_encode($b) : 'unknown'));
    return $b;
}


# Upload, create, wait: the batch at its end.  Options are fields of the
# batch, and timeout.

sub run_batch {
    my ($data, %o) = @_;
    my $timeout = delete $o{timeout} // 30;
    my $f = upload($data);

    unless ($f->{status} == 200) {
        Test::More::fail("upload answers $f->{status}: $f->{body}");
        return {};
    }

    my $b = create_batch($f->{json}{id}, %o);

    unless ($b->{status} == 200) {
        Test::More::fail("create answers $b->{status}: $b->{body}");
        return {};
    }

    return wait_batch($b->{json}{id}, timeout => $timeout) // {};
}


# The bytes of a file; undef when the answer is not 200.

sub content {
    my ($id, @http) = @_;

    return undef unless defined $id;

    my $r = http('GET', "/v1/files/$id/content", @http);

    return $r->{status} == 200 ? $r->{body} : undef;
}


sub output_lines { return decoded($_[0]{output_file_id}) }
sub error_lines  { return decoded($_[0]{error_file_id}) }


sub decoded {
    my ($id) = @_;
    my $text = defined $id ? content($id) : '';

    return map { json_decode($_) } split /\n/, $text // '';
}


sub by_id {
    return { map { $_->{custom_id} => $_ } @_ };
}


# N lines of chat completions.  Options: mock => script or code that gets the
# number (from 1), model, url, prefix of custom_id, body => code that returns
# the body as a hash or as JSON text.

sub jsonl {
    my ($n, %o) = @_;
    my $out = '';
    my $url = $o{url} // '/v1/chat/completions';
    my $prefix = $o{prefix} // 'req-';

    for my $i (1 .. $n) {
        my $mock = ref $o{mock} ? $o{mock}->($i) : $o{mock};
        my $body = $o{body} ? $o{body}->($i)
            : { model => $o{model} // 'm1',
                messages => [{ role => 'user',
                               content => "question number $i" }],
                defined $mock && length $mock ? (mock => $mock) : () };

        $body = json_encode($body) if ref $body;
        $out .= qq({"custom_id":"$prefix$i","method":"POST","url":"$url",)
                . qq("body":$body}\n);
    }

    return $out;
}

1;
