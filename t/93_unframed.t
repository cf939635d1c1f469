# Answers without a length, and answers of the lines' location itself: whether
# the JSON is whole decides.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

sub raw {
    my ($bytes) = @_;

    return { model => 'm', messages => [], mock => 'raw',
             raw => unpack('H*', $bytes) };
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: no length: whole, cut, no JSON, no body
--- api_config
    batch_retries 1;
--- flow
my @raw = ("HTTP/1.0 200 OK\r\n\r\n{\"a\":1}",
           "HTTP/1.0 200 OK\r\n\r\n{\"a\":1",
           "HTTP/1.0 200 OK\r\n\r\n<html>",
           "HTTP/1.0 200 OK\r\n\r\n",
           "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
           "HTTP/1.0 404 Not Found\r\n\r\n");
my $batch = run_batch(jsonl(scalar @raw, body => sub {
    main::raw($raw[$_[0] - 1]) }));
my $bad = by_id(error_lines($batch));
my %tries;
$tries{$_->{line}}++ for @{ mock_get('/mock/log')->{data} };

is($batch->{request_counts}{completed}, 1, 'the whole one is taken');
like($bad->{'req-2'}{error}{message}, qr/ended before its JSON did, after 6 /,
     'a cut one is told as that');
like($bad->{'req-3'}{error}{message}, qr/upstream answered 200.*not JSON/,
     'one that is no JSON');
like($bad->{'req-4'}{error}{message}, qr/ended before its JSON did, after 0 /,
     'nothing of it came');
like($bad->{'req-5'}{error}{message}, qr/204 with an empty body/, '204');
is($bad->{'req-6'}{response}{status_code}, 404, '404');
is_deeply([map { $tries{$_} } 1 .. @raw], [1, 2, 1, 2, 1, 1],
          'only what was cut is tried again');


=== TEST 2: return with JSON
--- line_config
    return 200 '{"own":true}';
--- flow
my $batch = run_batch(jsonl(2));
is($batch->{request_counts}{completed}, 2, 'both are answered');


=== TEST 3: return with half of it
--- line_config
    return 200 '{"own":';
--- flow
my $batch = run_batch(jsonl(1));
my ($l) = error_lines($batch);
like($l->{error}{message}, qr/^The location itself answered 200 .*not JSON/,
     'the location is named');


=== TEST 4: nothing at all
--- line_config
    return 204;
--- flow
my $batch = run_batch(jsonl(1));
my ($l) = error_lines($batch);
like($l->{error}{message}, qr/^The location itself answered 204 with an empty/,
     'the location is named');
