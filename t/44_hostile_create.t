# Rows 54 to 56 of the list of hostile inputs: what may be tried with the
# creation of a batch.  t/lib/BatchHostile.pm tells what a case is.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use Test::Nginx::Socket 'no_plan';

our @Type = ('Content-Type' => 'application/json');

our %Ok = (input_file_id => 'file-' . 'A' x 22, completion_window => '24h',
           endpoint => '/v1/chat/completions');

# a case: the body as text, or what to change in a good one; undef takes away

sub create {
    my ($row, $name, $body, $status, %want) = @_;

    if (ref $body) {
        my %b = (%Ok, %$body);
        delete @b{ grep { !defined $b{$_} } keys %b };
        $body = json_encode(\%b);
    }

    return { row => $row, name => $name, status => $status, %want,
             request => ['POST', '/v1/batches', $body, @Type] };
}

# a body written by hand: the good pairs, and this text behind them

sub text {
    my ($more) = @_;
    return json_encode(\%Ok) =~ s/\}$/$more}/r;
}

sub batches { return scalar @{ api('GET', '/v1/batches')->{json}{data} } }

no_long_string();
run_tests();

__DATA__

=== TEST 1: row 54: bodies that are no object
--- flow
my $c = \&main::create;
my $good = json_encode(\%main::Ok);
my @broken = (
    ['nothing', ''], ['a space', ' '], ['text', 'input_file_id=x'],
    ['an array', '[]'], ['an array of one', "[$good]"], ['null', 'null'],
    ['a string', '"x"'], ['a number', '1'], ['cut', substr $good, 0, -1],
    ['two of them', $good . $good], ['a comma', "$good,"],
    ['a trailing comma', $good =~ s/\}$/,}/r], ['a comment', "/**/$good"],
    ['single quotes', $good =~ tr/"/'/r], ['NaN', main::text(',"x":NaN')],
    ['a byte-order mark', "\xef\xbb\xbf$good"], ['UTF-16', "\xff\xfe{\0}\0"],
    ['invalid UTF-8', main::text(",\"x\":\"\xff\"")],
    ['overlong', main::text(",\"x\":\"\xc0\x80\"")],
    ['a raw surrogate', main::text(",\"x\":\"\xed\xa0\x80\"")],
    ['half a pair', main::text(',"x":"\\ud800"')],
    ['a raw NUL', main::text(",\"x\":\"a\0b\"")],
    ['a NUL', main::text(',"x":"a\\u0000b"')],
    ['a NUL in a key', main::text(',"x\\u0000":1')],
    ['a NUL behind it', "$good\0"],
    ['a raw newline', main::text(",\"x\":\"a\nb\"")],
    ['1e400', main::text(',"x":1e400')],
    ['60,000 [', '[' x 60000],
    ['10,000 levels', main::text(',"x":' . '[' x 10000 . ']' x 10000)],
    ['a key twice', main::text(',"endpoint":"/v1/chat/completions"')],
    ['a key twice, by an escape', main::text(',"endpoin\\u0074":"x"')],
    ['another key twice', main::text(',"x":1,"x":2')],
    ['a key twice in metadata', main::text(',"metadata":{"a":"1","a":"2"}')],
);

hostile('row 54', (map { $c->(54, @$_, 400, param => undef,
                               message => qr/JSON/) } @broken),
    $c->(54, '10 MB', main::text(',"x":"' . 'x' x 10_000_000 . '"'), 413),
    $c->(54, '65,537 bytes', main::text(',"x":"' . 'x'
         x (65537 - length main::text(',"x":""')) . '"'), 413),
    { row => 54, name => '10 MB in chunks', status => 413, chunk => 100000,
      request => ['POST', '/v1/batches', ' ' x 10_000_000, @main::Type] },
    { row => 54, name => 'no body', status => 400,
      request => ['POST', '/v1/batches', undef, @main::Type] });
is(main::batches(), 0, 'row 54: none was made');


=== TEST 2: row 54: what a client may not decide
--- api_config
    batch_tenant $http_x_team;
--- flow
my $f = upload(jsonl(1), headers => ['X-Team' => 'a'])->{json}{id};
my %extra = (
    id => 'batch_' . '0' x 32, status => 'completed', tenant => 'b',
    object => 'x', errors => [1], output_file_id => $f, error_file_id => $f,
    created_at => 1, completed_at => 1, expires_at => 1, cancelled_at => 1,
    in_progress_at => 1, failed_at => 1, route => 'x', v => 7, price => 1,
    request_counts => { total => 9, completed => 9, failed => 9 },
    usage => { total_tokens => 1e9 }, model => 'other', created_us => 1,
    processing_cost => 9, __proto__ => { status => 'x' },
    output_ttl => 1, '' => 1, 'x' x 1000 => 'x' x 1000,
);
my $r = create_batch($f, %extra, http => [headers => ['X-Team' => 'a']]);
my $b = $r->{json};

is($r->{status}, 200, 'row 54: extras do no harm');
isnt($b->{id}, $extra{id}, 'row 54: id');
is($b->{status}, 'validating', 'row 54: status');
is($b->{object}, 'batch', 'row 54: object');
is($b->{$_}, undef, "row 54: $_") for qw(output_file_id error_file_id errors
    completed_at cancelled_at in_progress_at failed_at);
is($b->{request_counts}{total}, 0, 'row 54: request_counts');
cmp_ok($b->{created_at}, '>', 1e9, 'row 54: created_at');
is($b->{expires_at}, $b->{created_at} + 86400, 'row 54: expires_at');
is(api('GET', "/v1/batches/$b->{id}", undef, headers => ['X-Team' => 'b'])
   ->{status}, 404, 'row 54: tenant');
$b = wait_batch($b->{id}, http => [headers => ['X-Team' => 'a']]);
is($b->{status}, 'completed', 'row 54: it runs');
is($b->{request_counts}{total}, 1, 'row 54: as it is');
is($b->{model}, 'm1', 'row 54: model');


=== TEST 3: row 55: endpoint, window, metadata
--- flow
my $c = \&main::create;
my @cases;

for my $e ('/v1/files', '/v1/batches', '/v1/chat/completions/',
           '/v1/chat/completions?x', '/V1/chat/completions', '', '/', '//',
           'http://127.0.0.1/v1/chat/completions', '/batch-lines/v1/x',
           "/v1/chat/completions\r\nX: y", '/v1/chat/../chat/completions',
           '/v1/chat%2fcompletions', '/v1/chat/completions ', '*', '$uri',
           '/v1/moderations', "/v1/chat/completions\x{e9}", 'x' x 60000)
{
    push @cases, $c->(55, 'endpoint ' . substr($e, 0, 40) =~ s/[^ -~]/?/gr,
                      { endpoint => $e }, 400, param => 'endpoint',
                      code => 'invalid_value');
}

for my $w ('48h', '25h', '0h', '-24h', '24H', ' 24h', '24h ', '24', 'h', '',
           '24h24h', '1e1h', '99999999999999999999h', '24.0h', '+24h', '024h',
           'unlimite', 'UNLIMITED', "24h\r\n", '2' x 60000 . 'h')
{
    push @cases, $c->(55, 'window ' . substr($w, 0, 30) =~ s/[^ -~]/?/gr,
                      { completion_window => $w }, 400,
                      param => 'completion_window', code => 'invalid_value');
}

for my $k (qw(input_file_id endpoint completion_window)) {
    push @cases, $c->(55, "no $k", { $k => undef }, 400, param => $k,
                      code => 'missing_required_parameter');

    for my $v (1, [], {}, JSON::PP::true, 1.5, [$main::Ok{$k}]) {
        push @cases, $c->(55, "$k is " . JSON::PP->new->allow_nonref
                          ->encode($v), { $k => $v }, 400, param => $k,
                          code => 'invalid_type');
    }
}

my %pairs = map { ("k$_" => 'v') } 1 .. 17;
my $meta = sub { return { metadata => $_[0] } };

push @cases,
    $c->(55, '17 pairs', $meta->(\%pairs), 400, param => 'metadata',
         code => 'object_above_max_properties'),
    $c->(55, '3,000 pairs', $meta->({ map { ("k$_" => '') } 1 .. 3000 }), 400,
         param => 'metadata', code => 'object_above_max_properties'),
    $c->(55, 'a key of 65', $meta->({ 'k' x 65 => 'v' }), 400,
         param => 'metadata', code => 'string_above_max_length'),
    $c->(55, 'a key of 50,000', $meta->({ 'k' x 50000 => 'v' }), 400,
         param => 'metadata', code => 'string_above_max_length'),
    $c->(55, 'a value of 513', $meta->({ k => 'v' x 513 }), 400,
         param => 'metadata.k', code => 'string_above_max_length'),
    $c->(55, 'a value of 60,000', $meta->({ k => 'v' x 60000 }), 400,
         param => 'metadata.k', code => 'string_above_max_length'),
    $c->(55, 'nested', $meta->({ k => { a => 'b' } }), 400,
         param => 'metadata.k', code => 'invalid_type'),
    $c->(55, 'an array in it', $meta->({ k => ['a'] }), 400,
         param => 'metadata.k', code => 'invalid_type'),
    $c->(55, 'a number in it', $meta->({ k => 1 }), 400,
         param => 'metadata.k', code => 'invalid_type'),
    $c->(55, 'null in it', main::text(',"metadata":{"k":null}'), 400,
         param => 'metadata.k', code => 'invalid_type'),
    $c->(55, 'an array', $meta->([]), 400, param => 'metadata',
         code => 'invalid_type'),
    $c->(55, 'a string', $meta->('{}'), 400, param => 'metadata',
         code => 'invalid_type'),
    $c->(55, 'false', $meta->(JSON::PP::false), 400, param => 'metadata',
         code => 'invalid_type'),
    $c->(55, 'half a pair', main::text(',"metadata":{"k":"\\ud800"}'), 400,
         param => undef, message => qr/JSON/),
    $c->(55, 'half a pair as key', main::text(',"metadata":{"\\udc00":"v"}'),
         400, param => undef, message => qr/JSON/),
    $c->(55, 'a NUL', main::text(',"metadata":{"k":"a\\u0000"}'), 400,
         param => undef, message => qr/JSON/);

hostile('row 55', @cases);
is(main::batches(), 0, 'row 55: none was made');


=== TEST 4: row 55: odd metadata that is allowed comes back as it was
--- flow
my $f = upload(jsonl(1))->{json}{id};

for my $m ({}, { '' => '' }, { 'k' x 64 => 'v' x 512 },
           { "\x{1f600}" x 64 => "\x{1f600}" x 512 },
           { map { ("k$_" => '') } 1 .. 16 },
           { "a\r\nb" => "\x01\x1f\x7f\"\\/" }, { '__proto__' => 'x' },
           { status => 'failed', id => '*', '{batch}:gen' => '%s' },
           { "\x{2028}" => "\x{ffff}\x{10ffff}" })
{
    my $r = create_batch($f, metadata => $m);
    is($r->{status}, 200, 'row 55: created');
    is_deeply($r->{json}{metadata}, $m, 'row 55: in the answer');
    is_deeply(wait_batch($r->{json}{id})->{metadata}, $m, 'row 55: at the end');
}

redis('FLUSHALL');
ok(wait_ready(), 'row 55: built again');
is(main::batches(), 9, 'row 55: all of them');


=== TEST 5: row 56: the same key
--- flow
my $f = upload(jsonl(2))->{json}{id};
my @key = (http => [headers => ['Idempotency-Key' => 'k-1']]);
my $w = watch(keys => qr/^\{batch\}:((f|fl|b|bl|u[a-z]):|fx$)/);

# the answer of the first one is not waited for

for (1 .. 3) {
    my $c = BatchRaw->new;
    my $body = json_encode({ %main::Ok, input_file_id => $f });
    $c->send(raw_request('POST', '/v1/batches', $body, @main::Type,
                         'Idempotency-Key' => 'k-1'));
    $_ == 2 ? $c->abort : close $c->{s};
}

my %ids = map { my $r = create_batch($f, @key);
                ($r->{json}{id} // $r->{status} => 1) } 1 .. 5;
is(scalar keys %ids, 1, 'row 56: one id') or diag(join ' ', keys %ids);
is(main::batches(), 1, 'row 56: one batch');

my ($id) = keys %ids;
is(wait_batch($id)->{status}, 'completed', 'row 56: it runs');
is(mock_stats()->{requests}, 2, 'row 56: once');

my @others = (metadata => { a => 'b' }, completion_window => 'unlimited',
              input_file_id => 'file-' . 'B' x 22,
              output_expires_after => { anchor => 'created_at',
                                        seconds => 7200 });

while (my ($k, $v) = splice @others, 0, 2) {
    my $r = api('POST', '/v1/batches', { %main::Ok, input_file_id => $f,
                $k => $v }, @{ $key[1] });
    my @bad = complaints($r, { status => 409, param => undef,
                               code => 'idempotency_key_reused' });
    ok(!@bad, "row 56: another $k") or diag(@bad);
}

is(main::batches(), 1, 'row 56: no other was made');
is(create_batch($f, @key)->{json}{id}, $id, 'row 56: the key still holds');
$w->leftovers('row 56');
