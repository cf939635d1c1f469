# What a line makes of itself on the wire: its request, header for header and
# byte for byte, is what the line's body and the location's configuration make;
# nothing else of a line gets anywhere.  Rows 48 and 51 of the list of hostile
# inputs.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

no_long_string();
run_tests();

__DATA__

=== TEST 1: row 51: bodies that look like requests
--- concurrency
2
--- flow
my @hostile = (
    'Transfer-Encoding: chunked', '\\r\\n0\\r\\n\\r\\n', '0\\r\\n\\r\\n',
    'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n',
    '\\r\\n\\r\\nPOST /v1/files HTTP/1.1\\r\\nContent-Length: 0\\r\\n\\r\\n',
    'Content-Length: 0', '\\u000d\\u000aX-Evil: 1', '\\u0000',
    'Expect: 100-continue', 'Connection: upgrade', '$uri ${host} $http_x',
    '\\ud800', "\xc3\xa9\xe2\x80\xa8", 'x' x 100000, '%0d%0aX-Evil:%201',
    'http://169.254.169.254/', '../../admin', 'X-Accel-Redirect: /v1/files',
);
my (@body, $in);

for my $i (0 .. $#hostile) {
    $body[$i] = '{"model":"m","mock":"echo;headers","messages":["' . $hostile[$i]
                . '"],"headers":{"X-Evil":"1","Host":"' . $hostile[$i] . '"},'
                . '"url":"http://127.0.0.1/","n":' . $i . '}';
    $in .= '{"custom_id":"' . substr($hostile[$i], 0, 48) . " $i\","
           . '"method":"POST","url":"\\/v1/chat/completions","X-Evil":"1",'
           . '"headers":{"X-Evil":"1","Transfer-Encoding":"chunked"},'
           . "\"body\":$body[$i]}\n";
}

my $batch = run_batch($in);
is($batch->{status}, 'completed', 'row 51: completed')
    or diag(json_encode($batch->{errors}));

my @out = split /\n/, content($batch->{output_file_id}) // '';
is(scalar @out, scalar @body, 'row 51: each line has an answer');

for my $i (0 .. $#body) {
    # both are strings of the answer; half a pair is not for every library

    my ($echo) = ($out[$i] // '') =~ /"echo":("[^"\\]*+(?:\\.[^"\\]*+)*+")/;
    my ($head) = ($out[$i] // '') =~ /"headers":("[^"\\]*+(?:\\.[^"\\]*+)*+")\}\}/;
    my ($got, $text) = map { $_ ? json_decode("[$_]")->[0] : 'none' }
                       $echo, $head;

    utf8::encode($got);
    ok($got eq $body[$i], "row 51: body $i");

    # the order is nginx's: the location's headers, then the line's

    is($text, join("\r\n", 'POST /v1/chat/completions HTTP/1.1',
                   'X-Batch-Line: ' . ($i + 1), 'Host: inference',
                   'Content-Length: ' . length $body[$i],
                   'Content-Type: application/json',
                   'Accept: application/json', 'User-Agent: nginx-batch',
                   '', ''),
       "rows 48 and 51: the head of line $i, byte for byte");
}

# a byte too many would have been the beginning of another request

my $s = mock_stats();
is($s->{requests}, scalar @body, 'row 51: no request more');
is_deeply([sort { $a <=> $b } map { $_->{bytes} }
           @{ mock_get('/mock/log')->{data} }],
          [sort { $a <=> $b } map { length } @body], 'row 51: their lengths');
is(join(' ', grep { $_ ne '/v1/chat/completions' } mock_paths()), '',
   'row 48: no other path');
cmp_ok($s->{connections}, '<', @body, 'row 51: over kept connections');
