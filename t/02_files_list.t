use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# GET /v1/files: pages, filters, and what is no valid parameter.

run_tests();

__DATA__

=== TEST 1: an empty list
--- flow
for ('', '?limit=0', '?purpose=batch', '?purpose=nope', '?after=nope',
     '?after=file-' . 'a' x 22)
{
    my $r = api('GET', "/v1/files$_");

    is($r->{status}, 200, "list $_");
    is($r->{body}, '{"object":"list","data":[],"first_id":null,'
       . '"last_id":null,"has_more":false}', 'empty');
}



=== TEST 2: order, pages, purposes
--- flow
my @ids = map { upload(jsonl(1), purpose => $_ % 3 ? 'batch' : 'evals')
                ->{json}{id} } 1 .. 30;

sub ids { map { $_->{id} } @{ api('GET', "/v1/files$_[0]")->{json}{data} } }

is(join(' ', ids('')), join(' ', reverse @ids), 'newest first');
is(join(' ', ids('?order=desc')), join(' ', reverse @ids), 'desc');
is(join(' ', ids('?order=asc')), join(' ', @ids), 'asc');
is(scalar(ids('?purpose=batch')), 20, 'one purpose');
is(scalar(ids('?purpose=%62atch')), 20, 'arguments are decoded');
is(scalar(ids('?purpose=evals')), 10, 'the other');
is(scalar(ids('?limit=0')), 0, 'limit=0');

my $r = api('GET', '/v1/files?limit=4')->{json};

is($r->{first_id}, $ids[29], 'first_id');
is($r->{last_id}, $ids[26], 'last_id');
ok($r->{has_more}, 'has_more');

for my $order ('asc', 'desc') {
    my (@all, $page);
    my $after = '';

    do {
        $page = api('GET', "/v1/files?limit=7&order=$order$after")->{json};
        push @all, map { $_->{id} } @{ $page->{data} };
        $after = "&after=$all[-1]";
    } while ($page->{has_more});

    is(join(' ', @all), join(' ', $order eq 'asc' ? @ids : reverse @ids),
       "all pages, $order");
}

is(scalar(ids("?after=$ids[0]")), 0, 'after the oldest');



=== TEST 3: parameters out of range
--- flow
for (['limit=10001', 'integer_above_max_value', "Invalid 'limit': integer "
      . 'above maximum value. Expected a value <= 10000, but got 10001 '
      . 'instead.'],
     ['limit=-1', 'integer_below_min_value', "Invalid 'limit': integer below "
      . 'minimum value. Expected a value >= 0, but got -1 instead.'],
     ['limit=1e9', 'invalid_type'], ['limit=', 'invalid_type'],
     ['limit=' . '9' x 5000, 'integer_above_max_value'],
     ['order=x', 'invalid_value',
      "Invalid value: 'x'. Supported values are: 'asc' and 'desc'."])
{
    my ($query, $code, $message) = @$_;
    my $r = api('GET', "/v1/files?$query");

    is($r->{status}, 400, 'refused: ' . substr $query, 0, 20);
    is($r->{json}{error}{code}, $code, 'code');
    is($r->{json}{error}{param}, substr($query, 0, 5), 'param');
    is($r->{json}{error}{message}, $message, 'message') if $message;
}

my $many = join '&', map { "a$_=$_" } 1 .. 500;
is(api('GET', "/v1/files?$many&limit=0")->{status}, 200, 'many arguments');



=== TEST 4: expired files are gone, and do not end a client's loop
--- flow
my @ids = map { upload(jsonl(1))->{json}{id} } 1 .. 12;
my @keys = grep { /:f:/ } @{ redis('KEYS', '*') };

is(scalar @keys, 12, 'manifests in the index');

for my $key (@keys) {
    my $m = redis('GET', $key);
    my ($id) = $m =~ /"id":"([^"]+)"/;

    next if $id eq $ids[0] || $id eq $ids[1];

    $m =~ s/"expires_at":\d+/"expires_at":1000/;
    redis('SET', $key, $m);
}

my $r = api('GET', '/v1/files?limit=3')->{json};

is(join(' ', map { $_->{id} } @{ $r->{data} }), "$ids[1] $ids[0]",
   'what is left, behind three pages of expired ones');

for ('', '/content') {
    is(api("GET", "/v1/files/$ids[5]$_")->{status}, 404, "gone $_");
}
is(api('DELETE', "/v1/files/$ids[5]")->{status}, 404, '404 for DELETE');
