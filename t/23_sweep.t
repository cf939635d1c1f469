# Files whose time has come.  An hour is the shortest that a client may ask
# for, so the manifest and the index are told that the time has passed.

use lib 't/lib';
use BatchTest;
use BatchDamage;
use Test::Nginx::Socket 'no_plan';

# all files of the store whose names have the id in them

sub on_disk {
    my ($id) = @_;
    my $dir = store_dir();
    return sort map { chomp; $_ } `find $dir -name '$id*'`;
}

# the file's expires_at, in its manifest, in the index and in the list that is
# swept

sub expire {
    my ($id) = @_;
    my $past = int(time()) - 10;
    my ($manifest) = grep { /\.json$/ } on_disk($id);
    my $text = slurp($manifest);

    $text =~ s/("expires_at":\s*)\d+/$1$past/ or die "no expires_at: $text";

    BatchDamage::manifest($manifest, $text);

    my ($key) = @{ redis('KEYS', "*:f:$id") };
    my ($list) = @{ redis('KEYS', '*:fx') };
    redis('SET', $key, $text);
    redis('ZADD', $list, $past, $id);
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: an expired file goes, from the disk, too
--- flow
my $one = upload(jsonl(1), fields => ['expires_after[anchor]' => 'created_at',
                                      'expires_after[seconds]' => 3600])
          ->{json};
my $two = upload(jsonl(1))->{json};
is($one->{expires_at} - $one->{created_at}, 3600, 'an hour');
is($two->{expires_at} - $two->{created_at}, 2592000, 'or thirty days');

main::expire($one->{id});

# it is gone for clients before it is swept

is(http('GET', "/v1/files/$one->{id}")->{status}, 404, 'not there any more');
is(http('GET', "/v1/files/$one->{id}/content")->{status}, 404, 'nor its bytes');
is(wait_batch(create_batch($one->{id})->{json}{id})->{status}, 'failed', 'no batch of it');

ok(wait_until(sub { !grep { !/\.del$/ } main::on_disk($one->{id}) }, 25),
   'swept from the disk') or diag(join "\n", main::on_disk($one->{id}));

# the index is told next

ok(wait_until(sub { !@{ redis('KEYS', "*:f:$one->{id}") } }, 5),
   'and from the index');
my @list = map { $_->{id} } @{ api('GET', '/v1/files')->{json}{data} };
is_deeply(\@list, [$two->{id}], 'the other one stays');
is(content($two->{id}), jsonl(1), 'with its bytes');

# nor does it come back

redis('FLUSHALL');
ok(wait_until(sub { http('GET', "/v1/files/$two->{id}")->{status} == 200 }, 15),
   'rebuilt');
is(http('GET', "/v1/files/$one->{id}")->{status}, 404, 'without it');


=== TEST 2: results live as long as was asked for
--- api_config
    batch_file_ttl 2d;
--- flow
my $in = jsonl(2, mock => sub { $_[0] == 1 ? 'status=400' : '' });
my $b = run_batch($in, output_expires_after =>
                  { anchor => 'created_at', seconds => 7200 });

for my $id (@{$b}{qw(output_file_id error_file_id)}) {
    my $f = api('GET', "/v1/files/$id")->{json};
    is($f->{expires_at} - $f->{created_at}, 7200, 'as asked for');
}

$b = run_batch($in);
my $f = api('GET', "/v1/files/$b->{output_file_id}")->{json};
is($f->{expires_at} - $f->{created_at}, 172800, 'or the default');
$f = api('GET', "/v1/files/$b->{input_file_id}")->{json};
is($f->{expires_at} - $f->{created_at}, 172800, 'also of the input');


=== TEST 3: a batch outlives its input
--- concurrency
1
--- flow
my $f = upload(jsonl(30, mock => 'slow=400'))->{json};
my $b = create_batch($f->{id})->{json};
wait_batch($b->{id}, until => qr/in_progress/);
main::expire($f->{id});
ok(wait_until(sub { !grep { !/\.del$/ } main::on_disk($f->{id}) }, 25),
   'the input is swept');
is(get_batch($b->{id})->{status}, 'in_progress', 'it runs');
$b = wait_batch($b->{id});
is($b->{request_counts}{completed}, 30, 'to the end');
