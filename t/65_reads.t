# Each read of the store fails once (EIO: open, stat, read, a directory's entry),
# and each call that takes a descriptor (EMFILE: files, sockets of upstreams and
# of Redis).  A client hears 200 and has it, or an error in the API's own form;
# no line is lost or doubled, no descriptor, and an index is never taken for
# filled when something of the store could not be read (t/67_filling.t).
# BATCH_SOAK=1 tries every call, otherwise some are left out.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchFault;
use BatchDeath;
use Test::Nginx::Socket 'no_plan';

our @Faults = ([class => 'reads', errno => 'EIO'],
               [class => 'opens', errno => 'EMFILE']);

# nginx itself takes a socket that it does not get for an alert, and so it does
# a file that it cannot close; a record that cannot be read is run again, lest a
# bad sector stops the batch

our $Its = qr{(socket|close)\(\)[ ].*failed|close_file_n?[ ].*failed
              |is[ ]void:[ ]a[ ]segment[ ]that[ ]it[ ]names[ ]is[ ]damaged}x;

Test::Nginx::Util::add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(no_error_log => "[emerg]\nexited on signal\n");
});

sub clean {
    my ($before, $free) = @_;

    is_clean($before, $free);
    no_alerts($main::Its);
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: downloads
--- flow
my $file = upload(jsonl(2))->{json}{id};
my ($before, $free) = (open_files(),
                       api('GET', '/batch-status')->{json}{connections_free});
my @wrong;

for my $f (@main::Faults) {
    my $with = sub { refused("$_[0], @$f", $_[1], @$f) };

    push @wrong, $with->('content', sub {
        my $r = api('GET', "/v1/files/$file/content");
        $r->{status} == 200 && $r->{body} ne jsonl(2)
            ? { status => 200.5, body => 'torn' } : $r });
    push @wrong, $with->('a part of it', sub {
        my $r = api('GET', "/v1/files/$file/content", undef,
                    headers => [Range => 'bytes=3-7']);
        $r->{status} == 206 && $r->{body} eq substr(jsonl(2), 3, 5)
            ? { status => 200 } : $r });
}

is_deeply(\@wrong, [], 'requests') or diag(join "\n", @wrong);
main::clean($before, $free);


=== TEST 2: requests that write
--- flow
my $file = upload(jsonl(2, mock => 'slow=20'))->{json}{id};
my ($before, $free) = (open_files(),
                       api('GET', '/batch-status')->{json}{connections_free});
my (@wrong, @batches, %promised, %tried);

for my $f (@main::Faults) {
    my $with = sub { refused("$_[0], @$f", $_[1], @$f) };

    push @wrong, $with->('an upload', sub {
        my $r = upload(jsonl(2));
        $promised{$r->{json}{id}} = jsonl(2) if $r->{status} == 200;
        return $r;
    });
    push @wrong, $with->('an upload with a key', sub {
        upload(jsonl(2), headers => ['Idempotency-Key' => rand()]) });

    # the answer to the first is repeated, never made anew

    my $key = rand();
    my $first = upload(jsonl(2), headers => ['Idempotency-Key' => $key])->{json}{id};
    push @wrong, $with->('one that is repeated', sub {
        my $r = upload(jsonl(2), headers => ['Idempotency-Key' => $key]);
        $r->{status} == 200 && $r->{json}{id} ne $first
            ? { status => 200.5, body => 'another file' } : $r;
    });
    push @wrong, $with->('a creation', sub {
        my $r = create_batch($file);
        push @batches, $r->{json}{id} if $r->{status} == 200;
        return $r;
    });

    my @files = map { upload(jsonl(1))->{json}{id} } 1 .. 40;
    push @wrong, $with->('a deletion', sub {
        return deleted(\@files, \%tried);
    });

    push @wrong, $with->('parts', sub {
        my $u = api('POST', '/v1/uploads', { purpose => 'batch',
                    filename => 'a.jsonl', bytes => length jsonl(1),
                    mime_type => 'application/jsonl' });
        return $u if $u->{status} != 200;
        my ($body, $type) = multipart(data => { data => jsonl(1), filename => 'a' });
        my $p = api('POST', "/v1/uploads/$u->{json}{id}/parts", undef,
                    body => $body, headers => ['Content-Type' => $type]);
        return $p if $p->{status} != 200;
        my $r = api('POST', "/v1/uploads/$u->{json}{id}/complete",
                    { part_ids => [$p->{json}{id}] });
        $promised{$r->{json}{file}{id}} = jsonl(1) if $r->{status} == 200;
        return $r;
    });
}

is_deeply(\@wrong, [], 'requests') or diag(join "\n", @wrong);
my @broken = grep { (content($_) // '') ne $promised{$_} } keys %promised;
is_deeply(\@broken, [], 'what was promised is there');
is_deeply([grep { settle_batch($_)->{status} ne 'completed' } @batches], [],
          'and done');
main::clean($before, $free);


=== TEST 3: batches: validation, lines, journal, seal, finalizing
--- timeout: 300
--- flow
my @ids = map { "req-$_" } 1 .. 6;
my $file = upload(jsonl(6, mock => sub { $_[0] == 6 ? 'status=400' : '' }))->{json}{id};
my ($before, $free) = (open_files(),
                       api('GET', '/batch-status')->{json}{connections_free});
my @wrong;

for my $f (@main::Faults) {
    every_call(sub {
        my $b = create_batch($file)->{json};
        fault(@$f, n => $_[0]);
        $b = settle_batch($b->{id});
        fault_off();
        push @wrong, "$_[0]: " . ($b->{status} // 'none') . ' ' . fault_name()
            if ($b->{status} // '') ne 'completed';
        my @lines = exactly_once($b, @ids);
        push @wrong, "$_[0] @$f: @lines" if @lines;
    }, @$f, arms => 1, what => "batch, @$f", step => 9);
}

is_deeply(\@wrong, [], 'all complete, each line exactly once');
main::clean($before, $free);

# a manifest that could not be made is made of final.json

rebuilt();
nothing_left('batches');


=== TEST 4: no socket for the link to Redis
--- flow
for my $n (1 .. 3) {
    fault(class => 'opens', errno => 'EMFILE', n => 1, sticky => 1);
    redis('CLIENT', 'KILL', 'TYPE', 'normal');
    ok(wait_until(sub { BatchFault::word(6) >= $n }, 20), 'there is none');
    fault_off();
    ok(wait_ready(), 'and then there is');
}
main::no_alerts($main::Its);
is(upload(jsonl(1))->{status}, 200, 'all is well');


=== TEST 5: who fills the index leaves, and does not keep others from it
--- flow
my @ids = sort map { upload(jsonl(1))->{json}{id} } 1 .. 3;
my $lock = sub {
    my ($key) = grep { /:rebuild:/ } @{ redis('KEYS', '{batch}:rebuild:*') };
    return [split / /, ($key && redis('GET', $key)) // ''];
};

# each read takes long, so that it is still at it

fault(n => 1, class => 'reads', action => 'slow', ms => 300, sticky => 1);
redis('FLUSHALL');
my $held;
ok(wait_until(sub { $held = $lock->(); $held->[0] }, 30), 'one fills it');
my %old = map { $_ => 1 } nginx_workers();
kill 'HUP', nginx_pid();
ok(wait_until(sub { !grep { $old{$_} } nginx_workers() }, 60), 'and goes');
isnt($lock->()->[0], $held->[0], 'the lock is not kept to the end of its lease');
fault_off();
ok(wait_until(sub { http('GET', '/v1/files?limit=1')->{status} == 200 }, 60),
   'another one fills it');
is_deeply([sort map { $_->{id} } all_files()], \@ids, 'with all there is');
