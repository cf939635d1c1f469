use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

# What clients send is kept within bounds: in messages, in Redis, on disk.

# The bytes that Redis needs for a key.

sub memory { redis('MEMORY', 'USAGE', $_[0], 'SAMPLES', 0) }

sub prefix { (grep { /:gen$/ } @{ redis('KEYS', '*:gen') })[0] =~ s/gen$//r }

no_long_string();
run_tests();

__DATA__

=== TEST 1: bad lines with long models leave a bounded list of errors
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/redis.sock;
--- flow
my $name = 'm' x 900;
my $n = 0;
my $text = join '', map {
    '{"custom_id":"c' . $n++ . '","method":"POST","url":"/v1/chat/completions",'
    . '"body":{"model":"' . $name . $_ . '","messages":[]}}' . "\n" } 1 .. 2500;
my @b = map { run_batch($text) } 1 .. 3;
my $b = $b[0];

is($b->{status}, 'failed', 'the batch fails');
cmp_ok(length(api('GET', "/v1/batches/$b->{id}")->{body}), '<=', 262144 + 2048,
       'the batch has its errors, of bounded size');

my @e = @{ $b->{errors}{data} };
my $m = $e[0]{message};

is($e[0]{code}, 'mismatched_model', 'the first one');
like($m, qr/^The model 'm{128}\.\.\.' for/, 'a long name is cut');
is($e[-1]{code}, 'more_errors', 'the last one');
like($e[-1]{message}, qr/^@{[2499 - $#e]} more lines/, 'says how many');

my $list = api('GET', '/v1/batches?limit=10');

cmp_ok(length $list->{body}, '<', 3 * 8192, 'a list is bounded, too');

my ($l) = grep { $_->{id} eq $b->{id} } @{ $list->{json}{data} };
my @l = @{ $l->{errors}{data} };

is_deeply([@l[0 .. $#l - 1]], [@e[0 .. $#l - 1]], 'it has the first errors');
is($l[-1]{code}, 'more_errors', 'and says that there are more');
like($l[-1]{message}, qr/ see @{[@e - $#l]} more entries/, 'and how many');
is_deeply({ %$l, errors => 0 }, { %$b, errors => 0 }, 'the rest is the same');

cmp_ok(memory(prefix() . "b:$_->{id}"), '<', 8192, 'Redis has little of it')
    for @b;

# what is on disk is what a new index gets

redis('FLUSHALL');
wait_answer('/v1/batches');
cmp_ok(memory(prefix() . "b:$b->{id}"), '<', 8192, 'also after a rebuild');
is_deeply(get_batch($b->{id}), $b, 'which shows the same');

# the request that is repeated gets the same object

my @key = (headers => ['Idempotency-Key' => 'again']);
my $f = upload($text)->{json}{id};
my %c = (input_file_id => $f, endpoint => '/v1/chat/completions',
         completion_window => '24h');
my $id = api('POST', '/v1/batches', \%c, @key)->{json}{id};
my $done = wait_batch($id);

cmp_ok(scalar @{ $done->{errors}{data} }, '>', 100, 'it has failed');

is_deeply(api('POST', '/v1/batches', \%c, @key)->{json}, $done,
          'a repeated creation has all errors');



=== TEST 2: a final.json that is gone
--- flow
my $b = run_batch(jsonl(1) . "x\n" x 200);
my ($file) = glob(store_dir() . "/batches/*/$b->{id}/final.json");

unlink $file or die;
is($b->{errors}{data}[-1]{line}, 201, 'all errors');
is(get_batch($b->{id})->{errors}{data}[-1]{code}, 'more_errors',
   'without the file, what the index has');



=== TEST 3: each string that is kept has a limit, and its message names it
--- flow
my $f = upload(jsonl(1))->{json}{id};
my %good = (input_file_id => $f, endpoint => '/v1/chat/completions',
            completion_window => '24h');

my @rows = (['input_file_id', 256], ['job_id', 256]);

for (@rows) {
    my ($param, $max) = @$_;
    my $ok = 'x' x $max;
    my $r = api('POST', '/v1/batches', { %good, $param => $ok });

    is($r->{status}, 200, "$param of $max characters");

    $r = api('POST', '/v1/batches', { %good, $param => $ok . 'y' });
    is($r->{status}, 400, 'one more');
    is($r->{json}{error}{param}, $param, 'param');
    is($r->{json}{error}{code}, 'string_above_max_length', 'code');
    like($r->{json}{error}{message}, qr/maximum length $max, .* length @{[$max + 1]} /,
         'message');
}

is(api('POST', '/v1/batches', json_encode({ %good, job_id => 'job' })
                              =~ s/"job"/'"' . '\u20ac' x 256 . '"'/re)->{status},
   200, 'characters count, not bytes');

my %upload = (filename => 'a', purpose => 'batch', bytes => 1);
my $r = api('POST', '/v1/uploads', { %upload, mime_type => 'x' x 255 });

is($r->{status}, 200, 'mime_type of 255 characters');
$r = api('POST', '/v1/uploads', { %upload, mime_type => 'x' x 256 });
is($r->{status}, 400, 'one more');
is($r->{json}{error}{param}, 'mime_type', 'param');

# what is compared only is shown cut

for my $param ('endpoint', 'completion_window') {
    $r = api('POST', '/v1/batches', { %good, $param => 'x' x 5000 });
    is($r->{status}, 400, "$param of 5000 characters");
    like($r->{json}{error}{message}, qr/'x{128}\.\.\.'/, 'shown cut');
}

$r = http('X' x 2000, '/v1/files');
like($r->{body}, qr/Not allowed to X{128}\.\.\. on/, 'a long method is cut');
