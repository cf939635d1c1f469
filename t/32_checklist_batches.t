# What clients of OpenAI's service rely on, by number: creating, getting and
# listing batches (40 to 54).  The names of the checks begin with "#<number>".

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

our %OK = (input_file_id => 'file-' . 'x' x 22,
           endpoint => '/v1/chat/completions', completion_window => '24h');

sub create { return api('POST', '/v1/batches', { %OK, @_ }) }

# the same without a key

sub create_without {
    my %h = %OK;

    delete $h{$_[0]};
    return api('POST', '/v1/batches', \%h);
}

sub list { return api('GET', "/v1/batches$_[0]")->{json} }
sub ids { return map { $_->{id} } @{ list($_[0])->{data} } }

no_long_string();
run_tests();

__DATA__

=== TEST 1: create
--- flow
my $f = upload(jsonl(2))->{json};
my $before = time();
my $r = create_batch($f->{id});
my $b = $r->{json};

is($r->{status}, 200, '#40 POST /v1/batches answers 200');
like($b->{id}, qr/^batch_[0-9a-f]{32}$/, '#40 id');
is($b->{object}, 'batch', '#40 object');
is($b->{status}, 'validating', '#40 status');
is($b->{endpoint}, '/v1/chat/completions', '#40 endpoint');
is($b->{input_file_id}, $f->{id}, '#40 input_file_id');
is($b->{completion_window}, '24h', '#40 completion_window');
ok($b->{created_at} >= int($before) && $b->{created_at} <= time(),
   '#40 created_at is now');
is_deeply($b->{request_counts}, { total => 0, completed => 0, failed => 0 },
          '#40 counts');

for (qw(model errors output_file_id error_file_id in_progress_at finalizing_at
        completed_at failed_at expired_at cancelling_at cancelled_at metadata))
{
    ok(exists $b->{$_} && !defined $b->{$_}, "#40 $_ is there, and null");
}

my %usage = (input_tokens => 0, output_tokens => 0, total_tokens => 0);
is_deeply({ map { $_ => $b->{usage}{$_} } keys %usage }, \%usage,
          '#40 usage is zero');
is($b->{usage}{input_tokens_details}{cached_tokens}, 0, '#40 cached_tokens');
is($b->{usage}{output_tokens_details}{reasoning_tokens}, 0,
   '#40 reasoning_tokens');
is($b->{expires_at}, $b->{created_at} + 86400,
   '#41 expires_at is known while it is validating');

for (qw(input_file_id endpoint completion_window)) {
    $r = main::create_without($_);
    is($r->{status}, 400, "#42 no $_");
    is_deeply($r->{json}, error_body("Missing required parameter: '$_'.", $_,
              'missing_required_parameter'), "#42 the error of no $_");
}

$r = main::create(endpoint => '/v1/invalid/endpoint');
is($r->{status}, 400, '#43 an unknown endpoint');
is_deeply($r->{json}, error_body("Invalid value: '/v1/invalid/endpoint'. "
          . "Supported values are: '/v1/chat/completions', '/v1/completions', "
          . "'/v1/embeddings', and '/v1/responses'.", 'endpoint',
          'invalid_value'), '#43 the error');

for ('48h', '1h', '', 'invalid') {
    $r = main::create(completion_window => $_);
    is($r->{status}, 400, "#44 completion_window '$_'");
    is_deeply($r->{json}, error_body("Invalid value: '$_'. Supported values "
              . "are: '24h' and 'unlimited'.", 'completion_window',
              'invalid_value'), '#44 the error');
}

$r = main::create(metadata => { tags => ['a'] });
is($r->{status}, 400, '#45 metadata that is no string');
is_deeply($r->{json}, error_body("Invalid type for 'metadata.tags': expected "
          . 'a string, but got an array instead.', 'metadata.tags',
          'invalid_type'), '#45 the error');

for (['17 pairs', { map { ("k$_" => 'v') } 1 .. 17 }, 'metadata',
      'object_above_max_properties'],
     ['a key of 65', { 'k' x 65 => 'v' }, 'metadata',
      'string_above_max_length'],
     ['a value of 513', { key => 'v' x 513 }, 'metadata.key',
      'string_above_max_length'])
{
    $r = main::create(metadata => $_->[1]);
    is($r->{status}, 400, "#46 $_->[0]");
    is($r->{json}{error}{param}, $_->[2], "#46 param of $_->[0]");
    is($r->{json}{error}{code}, $_->[3], "#46 code of $_->[0]");
    is($r->{json}{error}{type}, 'invalid_request_error', "#46 $_->[0]");
}

my %most = map { (sprintf('%02d', $_) . 'k' x 62 => 'v' x 512) } 1 .. 16;
is_deeply(main::create(metadata => \%most)->{json}{metadata}, \%most,
          '#46 16 pairs of 64 and 512');

$r = main::create(metadata => undef);
is($r->{status}, 200, '#47 metadata null');
ok(exists $r->{json}{metadata} && !defined $r->{json}{metadata},
   '#47 comes back as null');

$r = create_batch($f->{id}, idempotency_key => 'x', more => { a => [1] });
is($r->{status}, 200, '#49 unknown keys');
ok(!exists $r->{json}{more} && !exists $r->{json}{idempotency_key},
   '#49 are ignored');
is(wait_batch($r->{json}{id})->{status}, 'completed', '#49 the batch runs');



=== TEST 2: unknown ids
--- flow
my $unknown = 'file-' . '0' x 22;
my $r = create_batch($unknown);
is($r->{status}, 200, '#48 an unknown input is found out later');
is($r->{json}{status}, 'validating', '#48 status at first');
my $b = wait_batch($r->{json}{id});
is($b->{status}, 'failed', '#48 then failed');
is_deeply($b->{errors}, { object => 'list', data => [{
              code => 'invalid_request', line => undef, param => 'file_id',
              message => "Cannot find file $unknown, or organization default "
                         . 'does not have access to it.' }] }, '#48 errors');

for my $id ('batch_' . '0' x 32, 'batch_x', 'nonsense') {
    $r = api('GET', "/v1/batches/$id");
    is($r->{status}, 404, "#50 $id");
    is_deeply($r->{json}, error_body("No batch found with id '$id'."),
              '#50 the error');
}



=== TEST 3: #48 in the dialect impala
--- http_extra
    batch_dialect impala;
    batch_job  job-1;
--- flow
my $unknown = 'file-' . '0' x 22;
my $r = create_batch($unknown, completion_window => 'unlimited',
                     job_id => 'job-1');
is($r->{status}, 404, '#48 impala: an unknown input is refused');
is_deeply($r->{json}, error_body("No such File object: $unknown",
                                 'input_file_id'), '#48 impala: the error');
is_deeply(api('GET', '/v1/batches')->{json}{data}, [],
          '#48 impala: no batch is made');



=== TEST 4: lists
--- flow
my @made = map { main::create()->{json}{id} } 1 .. 25;
my $r = main::list('');

is($r->{object}, 'list', '#51 object');
is_deeply([map { $_->{id} } @{ $r->{data} }], [reverse @made[5 .. 24]],
          '#51 the newest 20');
ok($r->{has_more}, '#51 has_more');
is($r->{first_id}, $made[24], '#51 first_id');
is($r->{last_id}, $made[5], '#51 last_id');

my $e = api('GET', '/v1/batches?limit=101');
is($e->{status}, 400, '#52 limit=101');
is_deeply($e->{json}, error_body("Invalid 'limit': integer above maximum value."
          . ' Expected a value <= 100, but got 101 instead.', 'limit',
          'integer_above_max_value'), '#52 the error');
$e = api('GET', '/v1/batches?limit=-1');
is($e->{status}, 400, '#52 limit=-1');
is_deeply($e->{json}, error_body("Invalid 'limit': integer below minimum value."
          . ' Expected a value >= 0, but got -1 instead.', 'limit',
          'integer_below_min_value'), '#52 the error');
$e = api('GET', '/v1/batches?limit=0');
is($e->{status}, 200, '#52 limit=0');
is_deeply($e->{json}{data}, [], '#52 limit=0 is an empty page');

my %empty = (object => 'list', data => [], first_id => undef, last_id => undef,
             has_more => JSON::PP::false);

for ($made[0], 'batch_' . '0' x 32) {
    $e = api('GET', "/v1/batches?after=$_");
    is($e->{status}, 200, '#53 after the oldest, or after an unknown one');
    is_deeply($e->{json}, \%empty, '#53 an empty page');
}

# as an SDK pages, with batches made meanwhile

my (@seen, @new, $page);
my $after = '';

do {
    $page = main::list("?limit=4$after");
    push @seen, map { $_->{id} } @{ $page->{data} };
    push @new, main::create()->{json}{id};
    $after = "&after=$seen[-1]";
} while ($page->{has_more});

is_deeply(\@seen, [reverse @made], '#54 each batch once');
is(scalar @new, 7, '#54 with batches made between the pages');
is_deeply([main::ids('?limit=100')], [reverse(@new), reverse @made],
          '#54 which are there, too');
