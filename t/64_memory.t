# Each allocation that the module asks for is refused once.  The client gets an
# answer in the API's form or, when not even that can be made, nginx's 500 or a
# closed connection; the worker lives, keeps nothing, and the next request is
# good.  BATCH_SOAK=1 tries every allocation of a batch, otherwise some.  Those of
# filling the index are in t/67_filling.t.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchFault;
use BatchDeath;
use Test::Nginx::Socket 'no_plan';

Test::Nginx::Util::add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(no_error_log => "exited on signal\n");
});

sub no_memory {
    return refused(@_, class => 'memory');
}

# what answers 200 is all of it

sub get {
    my ($path) = @_;
    my $all = http('GET', $path)->{body};

    return no_memory($path, sub {
        my $r = api('GET', $path);
        return $r->{status} == 200 && $r->{body} ne $all
               ? { %$r, status => 'torn' } : $r;
    });
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: requests
--- flow
my $file = upload(jsonl(2))->{json}{id};
my $done = run_batch(jsonl(2));
my ($before, $free) = (open_files(),
                       api('GET', '/batch-status')->{json}{connections_free});
my @wrong;

push @wrong, main::get($_)
    for '/v1/files', "/v1/files/$file", "/v1/files/$file/content", '/v1/batches',
        "/v1/batches/$done->{id}";
push @wrong, main::no_memory('an upload', sub { upload(jsonl(2)) });
push @wrong, main::no_memory('an upload that expires', sub {
    upload(jsonl(2), fields => [expires_after =>
                                '{"anchor":"created_at","seconds":3600}']) });
push @wrong, main::no_memory('an upload with a key', sub {
    upload(jsonl(2), headers => ['Idempotency-Key' => rand()]) });
push @wrong, main::no_memory('an unknown path',
                             sub { my $r = api('GET', '/v1/files/x/y');
                                 $r->{status} == 404 ? { status => 200 } : $r });
is_deeply(\@wrong, [], 'requests') or diag(join "\n", @wrong);
is_clean($before, $free);
no_alerts($Unusable);


=== TEST 2: creations, cancellations, deletions, uploads in parts
--- flow
my $file = upload(jsonl(2, mock => 'slow=20'))->{json}{id};
my ($before, $free) = (open_files(),
                       api('GET', '/batch-status')->{json}{connections_free});
my (@wrong, @batches, @files, %tried);

push @wrong, main::no_memory('a creation', sub {
    my $r = create_batch($file);
    push @batches, $r->{json}{id} if $r->{status} == 200;
    return $r;
});
is(settle_batch($_)->{status}, 'completed', 'what was promised is done')
    for @batches;

@files = map { upload(jsonl(1))->{json}{id} } 1 .. 60;
push @wrong, main::no_memory('a deletion', sub {
    return deleted(\@files, \%tried);
});

push @wrong, main::no_memory('a cancellation', sub {
    my $r = cancel_batch($batches[0]);
    return $r->{status} == 409 ? { status => 200 } : $r;
});

push @wrong, main::no_memory('parts', sub {
    my $u = api('POST', '/v1/uploads', { purpose => 'batch', filename => 'a.jsonl',
                bytes => length jsonl(1), mime_type => 'application/jsonl' });
    return $u if $u->{status} != 200;
    my ($body, $type) = multipart(data => { data => jsonl(1), filename => 'a' });
    my $p = api('POST', "/v1/uploads/$u->{json}{id}/parts", undef,
                body => $body, headers => ['Content-Type' => $type]);
    return $p if $p->{status} != 200;
    return api('POST', "/v1/uploads/$u->{json}{id}/complete",
               { part_ids => [$p->{json}{id}] });
});
is_deeply(\@wrong, [], 'requests') or diag(join "\n", @wrong);
is_clean($before, $free);
no_alerts($Unusable);


=== TEST 3: batches
--- flow
my @ids = map { "req-$_" } 1 .. 6;
my $file = upload(jsonl(6, mock => sub { $_[0] == 6 ? 'status=400'
                                         : $_[0] == 5 ? 'status=500;times=1' : '' }))
           ->{json}{id};
my ($before, $free) = (open_files(),
                       api('GET', '/batch-status')->{json}{connections_free});
my @wrong;

every_call(sub {
    my $b = create_batch($file)->{json};
    fault(n => $_[0], class => 'memory');
    $b = settle_batch($b->{id}, 30);
    fault_off();
    push @wrong, "$_[0] " . fault_name() . ': ' . ($b->{status} // 'none')
        if ($b->{status} // '') ne 'completed';
    my @lines = exactly_once($b, @ids);
    push @wrong, "$_[0] " . fault_name() . ": @lines" if @lines;
}, arms => 1, class => 'memory', what => 'batch', step => 12);

is_deeply(\@wrong, [], 'all complete, each line exactly once');
is_clean($before, $free);
no_alerts($Unusable);


=== TEST 4: creations whose file is looked at first
--- http_extra
    batch_job a model=m;
--- api_config
    batch_dialect impala;
--- flow
my $file = upload(jsonl(2))->{json}{id};
my ($before, $free) = (open_files(),
                       api('GET', '/batch-status')->{json}{connections_free});
my (@wrong, @batches);

push @wrong, main::no_memory('a creation', sub {
    my $r = create_batch($file, completion_window => 'unlimited',
                         job_id => 'a');
    push @batches, $r->{json}{id} if $r->{status} == 200;
    return $r;
});
is_deeply(\@wrong, [], 'requests') or diag(join "\n", @wrong);
is(settle_batch($_)->{status}, 'completed', 'what was promised is done')
    for @batches;
is_clean($before, $free);
no_alerts($Unusable);
