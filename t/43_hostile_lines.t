# Rows 33 to 53 of the list of hostile inputs: what a line of the input, and
# the input as a whole, may try.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use Test::Nginx::Socket 'no_plan';

my $n = 0;

our $Url = '"/v1/chat/completions"';
our $Body = '{"model":"m","messages":[]}';

# a line with some things changed: their bytes; undef takes a key away

sub line {
    my (%o) = @_;
    my %l = (custom_id => '"id' . ++$n . '"', method => '"POST"', url => $Url,
             body => $Body, %o);

    return '{' . join(',', map { qq("$_":$l{$_}) }
                           grep { defined $l{$_} }
                           qw(custom_id method url body)) . '}';
}

# a line whose body has a value more, in front
sub with {
    return line(body => '{"v":' . $_[0] . ',"model":"m","messages":[]}');
}

# what a batch that has ended leaves in Redis
our $Keys = qr/^\{batch\}:((f|fl|b|bl|u[a-z]):|fx$)/;

our @Not = (invalid_json_line => undef);

# A table of bad lines: [row, name, bytes, code, param, message].  They are in
# one file with good ones in between; all are told, and nothing is sent.

sub refuse {
    my ($name, @rows) = @_;
    my $in = join "\n", map { (line(), $_->[2]) } @rows;
    my $w = watch(keys => $Keys);
    my $before = mock_stats()->{connections};
    my $b = run_batch($in, endpoint => '/v1/chat/completions');

    Test::More::is($b->{status}, 'failed', "$name: failed");

    my @errors = @{ $b->{errors}{data} // [] };
    my %by = map { ($_->{line} // 0) => $_ } @errors;

    Test::More::is(scalar @errors, scalar @rows, "$name: no other errors");

    for my $i (0 .. $#rows) {
        my ($row, $what, undef, $code, $param, $message) = @{ $rows[$i] };
        my $e = $by{2 * $i + 2} // {};
        my $good = ($e->{code} // '') eq $code
                   && ($e->{param} // 'null') eq ($param // 'null')
                   && (!defined $message || $e->{message} =~ $message)
                   && length($e->{message}) < 1000;

        Test::More::ok($good, "row $row: $what")
            or Test::More::diag(json_encode($e));
    }

    # the mock is asked by this test alone

    Test::More::is(mock_stats()->{requests}, 0, "$name: nothing was sent");
    Test::More::is(mock_stats()->{connections}, $before + 2,
                   "$name: no connection was made");
    $w->leftovers($name);
    good($name);
}

sub good {
    my ($name) = @_;
    my $b = run_batch(line());

    Test::More::is($b->{status}, 'completed', "$name: a good batch");
    mock_reset();
}

# A table of good lines: [row, name, body], the bytes of which the upstream must
# get; "echo" and what a line needs are put into it.

sub accept_bodies {
    my ($name, @rows) = @_;
    my @body = map { my $b = $_->[2];
                     $b =~ s/^\{/{"model":"m","mock":"echo","messages":[],/;
                     $b } @rows;
    my $w = watch(keys => $Keys);
    my $b = run_batch(join "\n", map {
        line(custom_id => qq("$_"), body => $body[$_]) } 0 .. $#rows);

    Test::More::is($b->{status}, 'completed', "$name: completed")
        or Test::More::diag(json_encode($b->{errors}));

    my $by = by_id(output_lines($b));

    for my $i (0 .. $#rows) {
        my $echo = $by->{$i}{response}{body}{echo};

        utf8::encode($echo) if defined $echo;
        Test::More::ok(defined $echo && $echo eq $body[$i],
                       "row $rows[$i][0]: $rows[$i][1]")
            or Test::More::diag(substr $echo // 'nothing', 0, 300);
    }

    $w->leftovers($name);
}

# [code, line, param] of each error

sub told {
    my ($b) = @_;
    return [map { [@{$_}{qw(code line param)}] } @{ $b->{errors}{data} }];
}

# A batch of a file that is sent in pieces: code that returns the next one.

sub run_pieces {
    my ($size, $code) = @_;
    my $c = BatchRaw->new;
    my $head = "--b0\r\nContent-Disposition: form-data; name=\"purpose\"\r\n"
               . "\r\nbatch\r\n--b0\r\nContent-Disposition: form-data;"
               . " name=\"file\"; filename=\"a.jsonl\"\r\n\r\n";
    my $tail = "\r\n--b0--\r\n";

    $c->send("POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type:"
             . " multipart/form-data; boundary=b0\r\nContent-Length: "
             . (length($head) + $size + length $tail) . "\r\n\r\n$head");

    while (defined(my $piece = $code->())) {
        $c->send($piece) or last;
    }

    $c->send($tail);

    my $r = $c->answer;

    return $r unless $r->{status} == 200;
    return wait_batch(create_batch(json_decode($r->{body})->{id})->{json}{id},
                      timeout => 60);
}

# peak memory of the largest worker, kB

sub peak {
    my ($max) = sort { $b <=> $a }
                map { (slurp("/proc/$_/status") // '') =~ /VmHWM:\s+(\d+)/ }
                nginx_workers();
    return $max;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: row 33: not JSON
--- flow
my $line = main::line();
my @bad = (
    ['text', 'not JSON'], ['an array', '[]'], ['a number', '1'],
    ['a string', '"x"'], ['null', 'null'], ['true', 'true'],
    ['two values', "$line {}"], ['two lines in one', "$line$line"],
    ['a comma behind it', "$line,"], ['an array of lines', "[$line]"],
    ['a closing brace more', "$line}"], ['cut', substr $line, 0, -1],
    ['one byte', '{'], ['a quote', '"'], ['a backslash', '\\'],
    ['trailing comma', $line =~ s/}$/,}/r],
    ['leading comma', $line =~ s/^\{/{,/r],
    ['two commas', $line =~ s/,/,,/r],
    ['no comma', $line =~ s/,/ /r],
    ['no colon', $line =~ s/:/ /r],
    ['comment in front', "/* c */$line"], ['comment behind', "$line// c"],
    ['comment inside', $line =~ s/,/,\/**\//r], ['hash comment', "# $line"],
    ['single quotes', $line =~ tr/"/'/r],
    ['keys without quotes', $line =~ s/"method"/method/r],
    ['NaN', main::with('NaN')], ['Infinity', main::with('Infinity')],
    ['-Infinity', main::with('-Infinity')],
    ['undefined', main::with('undefined')], ['True', main::with('True')],
    ['trailing comma in an array', main::with('[1,]')],
    ['array not closed', main::with('[1')],
    ['array closed by a brace', main::with('[1}')],
    ['hex', main::with('0x10')], ['underscore', main::with('1_000')],
    ['a byte-order mark', "\xef\xbb\xbf$line"],
    ['no-break space', "\xc2\xa0$line"], ['form feed', "\f$line"],
    ['vertical tab', "$line\x0b"], ['UTF-16', join '', map { "$_\0" }
                                              split //, $line],
    ['XML', '<?xml version="1.0"?>'], ['a record separator', "\x1e$line"],
    ['invalid escape', main::with('"\\x41"')],
    ['half an escape', main::with('"\\u00"')],
    ['an escaped newline', main::with('"\\' . "\r" . '"')],
);
main::refuse('row 33', map { [33, @$_, @main::Not,
             qr/^This line is not parseable as valid JSON\. .* at byte \d+\.$/]
             } @bad);


=== TEST 2: rows 34 and 35: marks and line ends
--- flow
my $bom = "\xef\xbb\xbf";
my @files = (
    [34, 'a mark at the start', $bom . main::line() . "\n" . main::line(), 2],
    [34, 'and an empty line', "$bom\n" . main::line(), 1],
    [34, 'two marks', $bom . $bom . main::line(), undef],
    [34, 'a mark inside', main::line() . "\n$bom" . main::line(), undef, 2],
    [34, 'a mark at the end', main::line() . "\n$bom", undef, 2],
    [34, 'a mark in a string', main::with("\"$bom\""), 1],
    [35, 'CRLF', main::line() . "\r\n" . main::line() . "\r\n", 2],
    [35, 'CR CR LF', main::line() . "\r\r\n" . main::line() . "\r\r\n", 2],
    [35, 'no newline at the end', main::line() . "\n" . main::line(), 2],
    [35, 'a CR at the end', main::line() . "\r", 1],
    [35, 'CR as space', join("\r", split /(?<=[,{])/, main::line()), 1],
    [35, 'only CRs', main::line() . "\r" . main::line(), undef, 1],
    [35, 'U+2028 is data', main::with("\"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85\""),
     1],
    [35, 'U+2028 is no newline', main::line() . "\xe2\x80\xa8" . main::line(),
     undef, 1],
    [35, 'NEL is no newline', main::line() . "\xc2\x85" . main::line(),
     undef, 1],
    [35, 'a form feed is no newline', main::line() . "\f" . main::line(),
     undef, 1],
);

for my $file (@files) {
    my ($row, $name, $in, $total, $at) = @$file;
    my $f = upload($in);

    if ($f->{status} == 400) {
        # refused as soon as it is uploaded: its first line is no object
        ok(!defined $total && ($at // 1) == 1, "row $row: $name")
            or diag($f->{body});
        like($f->{json}{error}{message},
             qr/^Invalid file format for Batch API\. Must be \.jsonl\. Line 1: /,
             "row $row: $name: message");
        next;
    }

    my $b = wait_batch(create_batch($f->{json}{id})->{json}{id});

    if (defined $total) {
        is($b->{request_counts}{completed}, $total, "row $row: $name")
            or diag(json_encode($b));
        next;
    }

    is_deeply(main::told($b), [[invalid_json_line => $at, undef]],
              "row $row: $name");
}

main::good('rows 34 and 35');


=== TEST 3: row 36: nothing but blank lines
--- flow
my $in = join "\n", '', ' ', "\t", "\r", " \r\t ", main::line(), '',
                    'bad', '', '', main::line(method => undef), '', '';
is_deeply(main::told(run_batch($in)),
          [[invalid_json_line => 8, undef],
           [missing_required_parameter => 11, 'method']],
          'row 36: numbers are physical');

my $w = watch(keys => $main::Keys);

for my $row (["\n", 199], ["\r\n", 50], [" \n", 50], [' ', 50]) {
    my ($blank, $mb) = @$row;
    my $piece = $blank x (1048576 / length $blank);
    my $left = $mb;
    my $r = main::run_pieces($mb * 1048576, sub { $left-- ? $piece : undef });
    my $name = sprintf 'row 36: %d MB of %vd', $mb, $blank;

    if ($blank eq ' ') {
        # one line, longer than any may be
        ok(($r->{status} // '') =~ /^(400|failed)$/, $name)
            or diag(json_encode($r));
        next;
    }

    if ($r->{status} eq '400') {
        like($r->{body}, qr/Must be \.jsonl/, $name);
        next;
    }

    is($r->{status}, 'failed', $name);
    is_deeply(main::told($r), [[empty_batch => undef, undef]], "$name: code");
}

cmp_ok(main::peak(), '<', 60000, 'row 36: memory of a worker, kB')
    unless $ENV{TEST_NGINX_BINARY} =~ /asan/;
$w->leftovers('row 36');


=== TEST 4: row 37: a line that is too long
--- api_config
    batch_max_line_size 8m;
--- flow
my $max = 8 * 1024 * 1024;
my $of = sub {
    my $line = main::with('""');
    my $pad = 'x' x ($_[0] - length $line);
    return $line =~ s/:""/:"$pad"/r;
};
my $b = run_batch(join "\n", main::line(), $of->($max + 1), 'bad',
                  $of->($max), '[' x (3 * $max), main::line(method => undef),
                  'x' x ($max + 1));
is($b->{status}, 'failed', 'row 37: failed');
is_deeply(main::told($b),
          [[invalid_json_line => 2, undef], [invalid_json_line => 3, undef],
           [invalid_json_line => 5, undef],
           [missing_required_parameter => 6, 'method'],
           [invalid_json_line => 7, undef]],
          'row 37: which lines');
is_deeply([map { $_->{message} } @{ $b->{errors}{data} }[0, 2, 4]],
          [("This line is too long: the maximum is $max bytes.") x 3],
          'row 37: message');
cmp_ok(main::peak(), '<', 90000, 'row 37: memory of a worker, kB')
    unless $ENV{TEST_NGINX_BINARY} =~ /asan/;

$b = run_batch($of->($max) . "\n" . main::line(), timeout => 60);
is($b->{status}, 'completed', 'row 37: the longest one that is not');
is($b->{request_counts}{completed}, 2, 'row 37: runs');


=== TEST 5: rows 38 to 40 and 42: depth, numbers, bytes
--- flow
my @deep = (
    ['100,000 [', '[' x 100000], ['100,000 [ in a value',
     main::with('[' x 100000)], ['a million {"a":[', '{"a":[' x 1000000],
    ['in a value', main::with('{"a":[' x 100000)],
    ['511 and what is around', main::with('[' x 511 . ']' x 511)],
    ['closed again', main::with('[' x 100000 . ']' x 100000)],
);
my @numbers = map { ["number $_", main::with($_)] } (
    qw(0123 +1 1. .5 -.5 -01 - -- 1e 1e+ 1E- 1e1.5 0e 1.e1 00 0x0 1a -a 1..2),
    qw(1-1 1+1 e1 ++1), '1,2'
);
my @utf8 = map { my $hex = $_; ["bytes $hex",
                 main::with('"' . pack('H*', $hex =~ s/ //gr) . '"')] } (
    'c0 80', 'c1 bf', 'e0 80 80', 'e0 9f bf', 'f0 80 80 80', 'f0 8f bf bf',
    'ed a0 80', 'ed bf bf', 'ed a0 bd ed b8 80', 'f4 90 80 80',
    'f5 80 80 80', 'f8 88 80 80 80', 'fc 84 80 80 80 80', 'fe', 'ff', '80',
    'bf', 'c3', 'e2 82', 'f0 9f 98', 'c3 28', 'e2 28 a1', 'f0 9f 28 8c',
    'c3 c3 a9', '41 80', 'e2 82 ac 80',
);
push @utf8, ['in a key', main::line(body => "{\"\xff\":1,\"model\":\"m\","
                                            . '"messages":[]}')],
            ['in custom_id', main::line(custom_id => "\"\xed\xa0\x80\"")],
            ['between tokens', main::line() . "\xa0"];
my @control = map { my $ch = chr $_; [sprintf('0x%02x in a string', $_),
                    main::with("\"a${ch}b\"")] }
              grep { $_ != 10 } 0 .. 0x1f;
push @control, map { my $ch = chr $_; [sprintf('0x%02x between tokens', $_),
                     main::line() =~ s/,/,$ch/r] }
               grep { $_ != 9 && $_ != 10 && $_ != 13 } 0 .. 0x1f, 0x7f;
push @control, ['0x01 in custom_id', main::line(custom_id => "\"a\x01\"")],
               ['NUL at the end', main::line() . "\0"],
               ['NUL in front', "\0" . main::line()],
               ['NUL alone', "\0"];

main::refuse('rows 38 to 42',
    (map { [38, @$_, @main::Not, qr/Nested too deeply at byte/] }
         grep { $_->[0] ne '100,000 [' && $_->[0] ne 'a million {"a":[' }
         @deep),
    (map { [38, @$_, @main::Not] } @deep[0, 2]),
    (map { [39, @$_, @main::Not] } @numbers),
    (map { [40, @$_, @main::Not] } @utf8),
    (map { [42, @$_, @main::Not] } @control));


=== TEST 6: rows 38, 39, 41, 44: what is odd, and goes on as it is
--- flow
my @rows = (
    [38, '509 levels in the body', '{"v":' . '[' x 509 . ']' x 509 . '}'],
    [39, '1e400', '{"v":1e400}'], [39, '-1e400', '{"v":-1E+400}'],
    [39, '1e-400', '{"v":1e-400}'], [39, '-0', '{"v":[-0,-0.0,0e0,-0e-0]}'],
    [39, '100,000 digits', '{"v":' . '7' x 100000 . '}'],
    [39, 'and behind the point', '{"v":0.' . '7' x 100000 . '}'],
    [39, 'an exponent of 100,000 digits', '{"v":1e' . '9' x 100000 . '}'],
    [39, '2^64', '{"v":[18446744073709551616,-9223372036854775809]}'],
    [39, 'zeros', '{"v":[1.000,0.10,1e00,10E+010]}'],
    [41, 'half a pair', '{"v":"\\ud800"}'],
    [41, 'a pair turned round', '{"v":"\\udc00\\ud800"}'],
    [41, 'a pair', '{"v":"\\ud83d\\ude00"}'],
    [41, 'NUL, escaped', '{"v":"a\\u0000b","\\u0000":1}'],
    [41, 'every escape', '{"v":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u000a\\u000D"}'],
    [41, 'noncharacters', '{"v":"\\uffff\\ufdd0' . "\xef\xbf\xbf\"}"],
    [41, 'U+10FFFF', "{\"v\":\"\xf4\x8f\xbf\xbf\"}"],
    [41, 'DEL', "{\"v\":\"\x7f\"}"],
    [44, 'another key twice', '{"v":1,"v":2,"v":{"v":1,"v":1}}'],
    [44, 'a known one deeper', '{"v":{"model":1,"model":2,"stream":true}}'],
    [44, 'and in an array', '{"v":[{"url":1,"url":2,"custom_id":3}]}'],
    [44, 'empty keys', '{"":1,"":2}'],
    [44, 'keys of a line in the body', '{"custom_id":1,"method":2,"url":3,'
                                       . '"body":4,"url":5}'],
    [44, '__proto__', '{"__proto__":{"stream":true},"constructor":1}'],
    [44, 'space everywhere', "{ \"v\"\t:\r [ 1 , { } , [ ] ]\t}"],
);
main::accept_bodies('row 39', @rows);


=== TEST 7: row 41: custom_ids come back byte for byte
--- flow
my @ids = ('\\ud800', '\\udc00\\ud800', 'a\\u0000b', '\\u0000', '\\/\\"\\\\',
           "\xc3\xa9\\n\\r", '\\ud83d\\ude00', "\x7f", '../../x', '{batch}:x',
           '*', '%00%0d%0a', '-1', 'null', '\\u000d\\u000aX: y', '${jndi}',
           "'; DROP TABLE", '<script>');
my $b = run_batch(join "\n", map { main::line(custom_id => "\"$_\"") } @ids);
is($b->{status}, 'completed', 'row 41: completed');
my @out = split /\n/, content($b->{output_file_id});

for my $i (0 .. $#ids) {
    ok(index($out[$i], "\"custom_id\": \"$ids[$i]\", ") > 0,
       "row 41: custom_id $i") or diag($out[$i]);
}


=== TEST 8: rows 43, 45, 46, 47, 49: keys
--- flow
my $l = \&main::line;
my @rows;

# twice, each written in every way

for my $key (qw(custom_id method url body)) {
    my %value = (custom_id => '"x"', method => '"POST"', url => $main::Url,
                 body => $main::Body);
    my $escaped = $key =~ s/(.)$/sprintf '\\u%04x', ord $1/er;
    my $all = join '', map { sprintf '\\u%04X', ord } split //, $key;

    for my $twin ($key, $escaped, $all) {
        for my $value ($value{$key}, 'null', '{}') {
            push @rows, [43, "$key again, as $twin: $value",
                         $l->() =~ s/\}$/,"$twin":$value}/r, @main::Not,
                         qr/Duplicate key '$key'/];
        }

        push @rows, [43, "$key again, first, as $twin",
                     $l->() =~ s/^\{/{"$twin":"x",/r, @main::Not,
                     qr/Duplicate key '$key'/];
    }
}

for my $key (qw(model stream messages input)) {
    my $escaped = $key =~ s/^(.)/sprintf '\\u%04x', ord $1/er;

    push @rows, [43, "body.$key again, as $_", $l->(body =>
                 '{"model":"m","messages":[],"stream":false,"input":1,'
                 . "\"$_\":2}"), @main::Not,
                 qr/Duplicate key 'body\.$key'/]
        for $key, $escaped;
}

# missing, or of another type

my %param = (custom_id => 'custom_id', method => 'method', url => 'url',
             body => 'body');

for my $key (qw(custom_id method url body)) {
    push @rows, [45, "no $key", $l->($key => undef),
                 missing_required_parameter => $key,
                 qr/^Missing required parameter: '$key'\.$/];

    for my $value ('null', '1', 'true', '[]', $key eq 'body' ? '"{}"' : '{}') {
        push @rows, [45, "$key is $value", $l->($key => $value),
                     invalid_type => $key, qr/^Invalid type for '$key'/];
    }
}

push @rows, [45, 'nothing at all', '{}', missing_required_parameter =>
             'custom_id', undef],
    [45, 'a key in capitals', $l->() =~ s/method/Method/r,
     missing_required_parameter => 'method', undef],
    [45, 'a key with a space', $l->() =~ s/"url"/"url "/r,
     missing_required_parameter => 'url', undef],
    [45, 'a key with NUL', $l->() =~ s/"url"/"url\\u0000"/r,
     missing_required_parameter => 'url', undef],
    [45, 'a body without messages', $l->(body => '{"model":"m"}'),
     missing_required_parameter => 'body.messages', undef],
    [45, 'a body within a body', $l->(body => "{\"body\":$main::Body}"),
     missing_required_parameter => 'body.model', undef];

# ids; the first line is main::line()'s too

push @rows, [46, 'empty', $l->(custom_id => '""'), invalid_value =>
             'custom_id', qr/empty/],
    [46, '513 bytes', $l->(custom_id => '"' . 'i' x 513 . '"'),
     invalid_value => 'custom_id', qr/too long/],
    [46, '64 KB', $l->(custom_id => '"' . 'i' x 65536 . '"'),
     invalid_value => 'custom_id', qr/length 65536/],
    [46, '171 characters of 3 bytes', $l->(custom_id => '"'
     . "\xe2\x82\xac" x 171 . '"'), invalid_value => 'custom_id', undef];

for my $m ('GET', 'post', 'POST ', ' POST', 'POST\\r\\nX: y', 'POST\\u0000',
           '', 'PUT', 'P', 'POSTPOST', 'POST /v1/files HTTP/1.1', "P\xc3\xb6ST")
{
    push @rows, [47, "method \"$m\"", $l->(method => "\"$m\""),
                 invalid_method => 'method', qr/Supported values are: 'POST'/];
}

for my $s ('"stream":true', '"str\\u0065am":true',
           '"\\u0073\\u0074\\u0072\\u0065\\u0061\\u006d" : true')
{
    push @rows, [49, $s, $l->(body => "{\"model\":\"m\",\"messages\":[],$s}"),
                 streaming_unsupported => 'body.stream', undef];
    push @rows, [49, "$s, first", $l->(body =>
                 "{$s,\"model\":\"m\",\"messages\":[]}"),
                 streaming_unsupported => 'body.stream', undef];
}

for my $s ('"true"', '1', '{}', '[true]') {
    push @rows, [49, "stream is $s", $l->(body =>
                 "{\"model\":\"m\",\"messages\":[],\"stream\":$s}"),
                 invalid_type => 'body.stream', undef];
}

push @rows, [49, 'under a duplicate key', $l->(body => '{"model":"m",'
             . '"messages":[],"stream":false,"str\\u0065am":true}'),
             @main::Not, qr/Duplicate key 'body\.stream'/];

main::refuse('keys', @rows);


=== TEST 9: row 46: ids that are the same
--- flow
my $l = \&main::line;
my @ids = ('a', '\\u0061', 'b', '\\/', '/', '\\ud83d\\ude00',
           "\xf0\x9f\x98\x80", '\\u000a', '\\n', 'A', 'a ', '\\ud83d',
           '\\ude00', 'a\\u0000', "e\xcc\x81", "\xc3\xa9", 'b', 'a\\u0000',
           '\\ud83d');
my $b = run_batch(join "\n", map { $l->(custom_id => "\"$_\"") } @ids);
is($b->{status}, 'failed', 'row 46: failed');
is_deeply(main::told($b), [map { [duplicate_custom_id => $_, 'custom_id'] }
                           2, 5, 7, 9, 17, 18, 19],
          'row 46: the second one is told, and only what is the same');
is_deeply([map { $_->{message} =~ /^The custom_id '([^']*)'/ }
           @{ $b->{errors}{data} }[5, 6]], ['a?', "\x{fffd}"],
          'row 46: what cannot be shown');


=== TEST 10: row 48: a url that is not the batch's
--- flow
my $canary = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5,
                                   Proto => 'tcp');
my $at = '127.0.0.1:' . $canary->sockport;
my $e = '/v1/chat/completions';
my @urls = (
    'http://169.254.169.254/latest/meta-data/', "http://$at$e", "https://$at$e",
    "//$at$e", "\\\\$at$e", "$at$e", "http:$e", "http://localhost$e",
    "http://$at\@localhost$e", "file:///etc/passwd", "unix:/tmp/x:$e",
    'gopher://127.0.0.1:6379/_FLUSHALL', "$e/../../admin", "$e/..", "$e/.",
    "/v1/./chat/completions", "/v1/x/../chat/completions", "/..$e",
    "$e?x=1", "$e?", "$e#", "$e#x", "$e%00", "$e%2e", '/v1/chat%2fcompletions',
    '/v1/chat%2Fcompletions', '/%76%31/chat/completions', "$e%0d%0aX:%20y",
    "$e\\r\\nX: y", "$e HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /", "$e\\n", "$e ",
    " $e", "$e\\u0000", "\\u0000$e", "$e\\t", uc $e, '/V1/chat/completions',
    '/v1/chat/Completions', "$e/", "/$e", '/v1//chat/completions', "$e;x=1",
    '/v1/completions', '/v1/embeddings', '/v1/batches', '/v1/files',
    '/batch-lines/v1/chat/completions', '/batch-lines', '/internal/x',
    '/batch-status', '/up', 'v1/chat/completions', '/v1/chat/completion',
    '/', '', '*', '@named', '$uri', '${e}', $e x 100, 'x' x 100000,
    "/v1\\\\chat\\\\completions", "$e\xe2\x80\x8b", "\xef\xbb\xbf$e",
    "/v1/chat/completions\\u00e9", "/v1/ch\\u0430t/completions",
);
main::refuse('row 48', map { [48, 'url ' . substr($_, 0, 60),
             main::line(url => "\"$_\""), invalid_url => 'url',
             qr{^The URL provided .* Expected '/v1/chat/completions'\.$}] }
             @urls);

my $r = '';
vec($r, fileno $canary, 1) = 1;
is(select($r, undef, undef, 0), 0, 'row 48: no connection to the canary');

main::good('row 48');
is(run_batch(main::line(url => '"\\u002fv1\\/chat/c\\u006fmpletions"'))
   ->{status}, 'completed', 'row 48: escapes are a way of writing it');


=== TEST 11: row 50: models
--- line_config
            proxy_set_header X-Model $batch_model;
            proxy_set_header X-Id $batch_custom_id;
            proxy_set_header X-Job "$batch_job $batch_tenant $batch_id";
--- flow
my $l = \&main::line;
my $of = sub { $l->(body => "{\"model\":$_[0],\"messages\":[],"
                            . '"mock":"headers"}') };

main::refuse('row 50',
    [50, 'another', $of->('"m2"'), mismatched_model => 'body.model', qr/'m2'/],
    [50, 'in capitals', $of->('"M"'), mismatched_model => 'body.model', undef],
    [50, 'with a space', $of->('"m "'), mismatched_model => 'body.model',
     undef],
    [50, 'with NUL', $of->('"m\\u0000"'), mismatched_model => 'body.model',
     undef],
    [50, 'a megabyte', $of->('"' . 'm' x 1000000 . '"'),
     invalid_value => 'body.model', qr/longer than 1024 bytes/],
    [50, 'quotes', $of->('"m\\"},{\\"x\\":\\""'),
     mismatched_model => 'body.model', undef],
    [50, 'empty', $of->('""'), mismatched_model => 'body.model', undef],
    [50, 'a number', $of->('7'), invalid_type => 'body.model', undef],
    [50, 'null', $of->('null'), invalid_type => 'body.model', undef],
    [50, 'an array', $of->('["m"]'), invalid_type => 'body.model', undef],
    [50, 'an object', $of->('{}'), invalid_type => 'body.model', undef],
    [50, 'none', $l->(body => '{"messages":[]}'),
     missing_required_parameter => 'body.model', undef]);

# what runs must not get anywhere but into the body

my @names = ('../../x', '{{b}}', '}:gen', 'a\\r\\nX-Evil: 1', 'a:b:c', '*', '?',
             '%s%n', '$uri', "\xe2\x80\xa8", 'a b', '\\u0000', 'x' x 1000,
             '\\ud800', "'\\\"", '<b>', "\xf0\x9f\x98\x80" x 100,
             "\xe2\x82\xac" x 86, '\\ude00' x 341);
my $key = qr/^\{batch\}:(gen(:[0-9a-f]{40})?|active|be(:[0-9a-z-]+)?|fx
              |f:file-[0-9A-Za-z]{22}|fl:(0|[0-9a-f]{40})(:[a-z_-]+)?
              |b:batch_[0-9a-f]{32}|(bl|u[a-z]):(0|[0-9a-f]{40}))$/x;

for my $name (@names) {
    my $id = substr $name, 0, 396;
    my $b = run_batch($l->(custom_id => "\"$id\"",
                           body => "{\"model\":\"$name\",\"messages\":[],"
                                   . '"mock":"headers"}'));
    my $shown = substr $name, 0, 20;
    $shown =~ s/[^ -~]/?/g;

    is($b->{status}, 'completed', "row 50: model $shown")
        or diag(json_encode($b));
    next if $b->{status} ne 'completed';

    # not every JSON library takes half a pair

    my ($text) = content($b->{output_file_id})
                 =~ /"headers":("(?:[^"\\]|\\.)*")/;
    my $head = $text ? json_decode("[$text]")->[0] : '';
    my @lines = split /\r\n/, $head;

    unlike($head, qr/^X-Evil/mi, "row 50: $shown: no header of its own");
    is(scalar(grep { !/^[A-Za-z-]+: [\x20-\x7e]*$/ } @lines[1 .. $#lines]), 0,
       "row 50: $shown: clean headers");
    is($lines[0], 'POST /v1/chat/completions HTTP/1.1',
       "row 50: $shown: request line");
}

is(join(' ', grep { !/$key/ } @{ redis('KEYS', '*') }), '',
   'row 50: keys in Redis are made of ids');
is(join(' ', grep { !m{^/(tmp|files|batches|uploads|keys)
                       (/[0-9A-Za-z]{2}(/(file-|batch_)[0-9A-Za-z.]+
                                         (/[a-z0-9.]+)?)?)?$
                       |^/workers(/[0-9a-f]{32})?$|^/version$}x }
             map { substr $_, length store_dir() }
             split /\n/, `find @{[ store_dir() ]} -mindepth 1`), '',
   'row 50: and so are paths');

# longer than any

my $b = run_batch($of->('"' . 'm' x 1000000 . '"'));
like($b->{status}, qr/^(failed|completed)$/, 'row 50: a megabyte, first');
main::good('row 50');


=== TEST 12: row 52: too many
--- flow
my $b = run_batch("{}\n" x 50000, timeout => 60);
is($b->{status}, 'failed', 'row 52: 50,000 empty objects');
my $e = main::told($b);
is(scalar @$e, 1001, 'row 52: a thousand are listed');
is_deeply($e->[999], [missing_required_parameter => 1000, 'custom_id'],
          'row 52: the thousandth');
is_deeply($e->[1000], [more_errors => undef, undef], 'row 52: the rest');
is($b->{errors}{data}[1000]{message},
   '49000 more lines have errors that are not listed.', 'row 52: how many');

$b = run_batch("{}\n" x 50001, timeout => 60);
is_deeply(main::told($b)->[0], [too_many_tasks => undef, undef],
          'row 52: 50,001 of them');
is(scalar @{ $b->{errors}{data} }, 1002, 'row 52: and their errors');

$b = run_batch(main::line() . "\n" . "x\n" x 50000, timeout => 60);
is_deeply(main::told($b)->[0], [too_many_tasks => undef, undef],
          'row 52: 50,001 that are not JSON');

my $embed = sub {
    my ($input) = @_;
    return main::line(url => '"/v1/embeddings"',
                      body => "{\"model\":\"m\",\"input\":$input}");
};
my @e = (endpoint => '/v1/embeddings', timeout => 60);
my $list = sub { '[' . join(',', ('"x"') x $_[0]) . ']' };

$b = run_batch($embed->($list->(50001)), @e);
is_deeply(main::told($b), [[too_many_tasks => undef, undef]],
          'row 52: 50,001 inputs in a line');
$b = run_batch($embed->($list->(50000)) . "\n" . $embed->('"x"'), @e);
is_deeply(main::told($b), [[too_many_tasks => undef, undef]],
          'row 52: 50,001 inputs in two');
$b = run_batch($embed->($list->(50000)), @e);
is($b->{status}, 'completed', 'row 52: 50,000 inputs');
$b = run_batch($embed->('[' . join(',', (7) x 50001) . ']'), @e);
is($b->{status}, 'completed', 'row 52: 50,001 numbers are one input');


=== TEST 13: row 53: no such input
--- api_config
    batch_tenant $http_x_team;
--- flow
my @a = (headers => ['X-Team' => 'a']);
my @b = (headers => ['X-Team' => 'b']);
my $w = watch(keys => $main::Keys);

my $deleted = upload(jsonl(1), @a)->{json}{id};
api('DELETE', "/v1/files/$deleted", undef, @a);

my $done = wait_batch(create_batch(upload(jsonl(1), @b)->{json}{id},
                                   http => [@b])->{json}{id}, http => [@b]);
my %ids = (
    unknown => 'file-' . 'A' x 22,
    deleted => $deleted,
    foreign => upload(jsonl(1), @b)->{json}{id},
    'of another purpose' => upload(jsonl(1), @a, purpose => 'user_data')
                            ->{json}{id},
    "another's output" => $done->{output_file_id},
);
my %text;

for my $name (sort keys %ids) {
    my $id = $ids{$name};
    my $r = create_batch($id, http => [@a]);
    is($r->{status}, 200, "row 53: $name: created");

    my $b = wait_batch($r->{json}{id}, http => [@a]);
    is($b->{status}, 'failed', "row 53: $name: failed");
    is_deeply(main::told($b), [[invalid_request => undef, 'file_id']],
              "row 53: $name: code");

    my $text = $b->{errors}{data}[0]{message};
    $text =~ s/\Q$id\E/ID/;
    $text{$text}++;
}

is_deeply([values %text], [5], 'row 53: the same text for all');
like((keys %text)[0], qr/^Cannot find file ID/, 'row 53: which one');

# what is no id at all, and what looks like a path

for my $id ('../../etc/passwd', 'file-../../../../etc/passwd', 'batch_x', '',
            'file-' . 'A' x 21, 'file-' . 'A' x 23, 'file-' . 'A' x 10000,
            "file-\0" . 'A' x 21, '*', '{batch}:gen')
{
    my $r = create_batch($id, http => [@a]);
    my $shown = substr $id, 0, 30;
    $shown =~ s/[^ -~]/?/g;

    if ($r->{status} == 400) {
        # JSON with a NUL in it is refused as a whole
        my $param = $id =~ /\0/ ? undef : 'input_file_id';
        ok(!complaints($r, { status => 400, param => $param }),
           "row 53: \"$shown\"") or diag($r->{body});
        next;
    }

    is($r->{status}, 200, "row 53: \"$shown\"");
    my $b = wait_batch($r->{json}{id}, http => [@a]);
    is_deeply(main::told($b), [[invalid_request => undef, 'file_id']],
              "row 53: \"$shown\": code");
}

$w->leftovers('row 53');
