# An answer whose text is broken is not lost: what is mended, into what, and how
# the line is marked; what is no JSON even so.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $Fffd = "\xef\xbf\xbd";

# name, body of the answer, and what of it is in the output line; undef: it is
# no JSON even so

our @Rows = (
    ['sound', '{"a": "\u00e4 \ud83d\ude00"}', '{"a":"\u00e4 \ud83d\ude00"}', 0],
    ['half a character', qq({"a":"x\xe4\xb8"}), qq({"a":"x$Fffd"})],
    ['half an emoji, then a whole one', qq(["\xf0\x9f\x98\xf0\x9f\x98\x80"]),
     qq(["$Fffd\xf0\x9f\x98\x80"])],
    ['half an escaped emoji', '["\ud83d","\ude00\ud83d\ude00"]',
     qq(["$Fffd","$Fffd\\ud83d\\ude00"])],
    ['Latin-1', qq(["caf\xe9"]), qq(["caf$Fffd"])],
    ['raw control characters', qq({"a\tb":"1\n2\r\n\x00\x1b[0m"}),
     '{"a\tb":"1\n2\r\n\u0000\u001b[0m"}'],
    ['NaN and infinities', '{"l":[NaN, -1.5, -Infinity, Infinity]}',
     '{"l":[null,-1.5,null,null]}'],
    ['usage', '{"x":NaN,"usage":{"prompt_tokens":1000,"total_tokens":1000}}',
     '{"x":null,"usage":{"prompt_tokens":1000,"total_tokens":1000}}'],
    ['broken, and cut', qq({"a":"\xe4\xb8)],
    ['broken, and two values', qq("\xff" 1)],
    ['broken outside of strings', qq({"a":1\xff})],
    ['control characters outside of strings', qq({"a":1\x01})],
    ['an invalid escape', qq({"a":"\xff\\x"})],
    ['nan', '[nan]'],
);

# the field "raw" of a line: the bytes of its answer

sub raw {
    my ($status, $body) = @_;

    return unpack 'H*', "HTTP/1.1 $status\r\nConnection: close\r\n"
                        . "Content-Type: application/json\r\n"
                        . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
}

sub input {
    my ($how, $status, @bodies) = @_;
    my $i = 0;

    return join '', map {
        json_encode({ custom_id => "" . $i++, method => 'POST',
                      url => '/v1/chat/completions',
                      body => { model => 'm', messages => [], mock => "raw$how",
                                raw => raw($status, $_) } }) . "\n"
    } @bodies;
}

# physical lines by custom_id

sub lines {
    my ($id) = @_;
    my $text = $id ? content($id) : '';

    return { map { /"custom_id": "(\d+)"/ ? ($1, $_) : () } split /\n/, $text };
}

sub table {
    my ($name, $how) = @_;
    my $b = run_batch(input($how, '200 OK', map { $_->[1] } @Rows),
                      timeout => 60);
    my $out = lines($b->{output_file_id});
    my $bad = lines($b->{error_file_id});

    for my $i (0 .. $#Rows) {
        my ($what, undef, $want, $marked) = @{ $Rows[$i] };

        if (!defined $want) {
            Test::More::like($bad->{$i} // '', qr/upstream_invalid_response/,
                             "$name: $what: in the error file");
            next;
        }

        $marked = ($marked // 1) ? ', "repaired": true' : '';

        my ($tail) = ($out->{$i} // '') =~ /"body": (.*)/;
        Test::More::is($tail, qq($want}, "error": null$marked}),
                       "$name: $what");
    }

    Test::More::is($b->{usage}{input_tokens}, 1000,
                   "$name: the tokens of a mended answer count");
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: what is mended, and what is not
--- api_config
    batch_retries 0;
--- flow
main::table('whole', '');


=== TEST 2: one byte at a time
--- api_config
    batch_retries 0;
--- line_config
    proxy_buffering off;
--- flow
main::table('in bytes', ';drip=1;piece=1');


=== TEST 3: an answer that is larger than what stays in memory
--- api_config
    batch_retries 0;
--- flow
# a period that no size of a buffer is a multiple of

my $piece = "1234567890 \xe4\xb8 \x01\x02 \xf0\x9f\x98\x80";
my $good = "1234567890 $main::Fffd \\u0001\\u0002 \xf0\x9f\x98\x80";
my $b = run_batch(main::input('', '200 OK',
                              '["' . $piece x 40_000 . '",-Infinity]'),
                  timeout => 60);
my $l = main::lines($b->{output_file_id})->{0} // '';
ok($l =~ /"body": (.*)/s, 'in the output file');
ok($1 eq '["' . $good x 40_000 . '",null]}, "error": null, "repaired": true}',
   'mended to the end');

# nothing but control characters: six times as large

$b = run_batch(main::input('', '200 OK', '["' . "\x01" x 400_000 . '"]'),
               timeout => 60);
$l = main::lines($b->{output_file_id})->{0} // '';
ok($l =~ /"body": (.*)/s
   && $1 eq '["' . '\u0001' x 400_000
            . '"]}, "error": null, "repaired": true}', 'as escapes');


=== TEST 4: only of a 2xx
--- api_config
    batch_retries 0;
--- flow
my $b = run_batch(main::input('', '400 Bad Request', qq({"a":"\xff"}), '{}'));
my $bad = main::lines($b->{error_file_id});
like($bad->{0}, qr/"message": "\{\\"a\\":\\"$main::Fffd\\"\}"/,
     'an error with broken text is shown as text');
like($bad->{1}, qr/"body": \{\}\}, "error": null\}$/, 'a sound one as JSON');
unlike($bad->{0} . $bad->{1}, qr/repaired/, 'neither is marked');


=== TEST 5: batch_repair off
--- api_config
    batch_retries 0;
    batch_repair off;
--- flow
my @rows = grep { defined $_->[2] && ($_->[3] // 1) } @main::Rows;
my $b = run_batch(main::input('', '200 OK', (map { $_->[1] } @rows),
                              '["\ud83d"]'));
my $bad = main::lines($b->{error_file_id});
my $out = main::lines($b->{output_file_id});

for my $i (0 .. $#rows) {
    next if $rows[$i][0] =~ /escaped/;
    like($bad->{$i} // '', qr/"code": "upstream_invalid_response"/,
         "$rows[$i][0]: in the error file");
}

like($out->{scalar @rows} // '', qr/"body": \["\\ud83d"\]\}, "error": null\}$/,
     'half of a pair of escapes is JSON: as it came');
