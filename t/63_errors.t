# Each call that changes the disk fails once: EIO, ENOSPC, or half of a write.
# A client hears 200 and has it, or an error in the API's own form and may try
# again; a sync that failed is never tried again; no line is lost or doubled.
# BATCH_SOAK=1 tries every call of a batch, otherwise some are left out.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchFault;
use BatchDeath;
use Test::Nginx::Socket 'no_plan';

our @Faults = ([action => 'fail', errno => 'EIO'],
               [action => 'fail', errno => 'ENOSPC'],
               [action => 'short']);

# failed calls are logged as crit

Test::Nginx::Util::add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(no_error_log => "[alert]\n[emerg]\nexited on signal\n");
});

# what is wrong with an answer that is not 200

sub wrong_answer {
    my ($r, %fault) = @_;
    my $e = ref $r->{json} eq 'HASH' ? $r->{json}{error} : undef;
    my $expected = ($fault{errno} // '') eq 'ENOSPC' ? qr/^(507|500|503)$/
                                                     : qr/^(500|503)$/;

    return if $r->{status} =~ $expected && $e && $e->{type} eq 'server_error'
              && length $e->{message};
    return "$r->{status} $r->{body} ($fault{action} of " . fault_name() . ')';
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: uploads
--- flow
my (%tried, %promised, @wrong);

for my $f (@main::Faults) {
    my %f = @$f;
    every_call(sub {
        my $data = jsonl(2, prefix => join('-', @$f, "$_[0]-"));
        my $r = upload($data);
        $tried{$data} = 1;
        if ($r->{status} == 200) {
            $promised{$r->{json}{id}} = $data;
        } else {
            push @wrong, main::wrong_answer($r, %f);
            push @wrong, "507 expected at " . fault_name()
                if ($f{errno} // '') eq 'ENOSPC' && $r->{status} != 507;
        }
    }, %f, what => "upload, @$f");

    is(upload(jsonl(2))->{status}, 200, 'the next one is good');
}

is_deeply(\@wrong, [], 'errors as they should be');
my @broken = grep { (content($_) // '') ne $promised{$_} } keys %promised;
is_deeply(\@broken, [], 'what was promised is there');
rebuilt();
my %there = map { $_->{id} => $_ } all_files();
@broken = grep { !$there{$_} } keys %promised;
is_deeply(\@broken, [], 'also when Redis has lost it');
nothing_left('uploads');
is(fault_resynced(), 0, 'no sync is tried again');


=== TEST 2: deletions
--- flow
my @wrong;

for my $f (@main::Faults[0, 1]) {
    my %f = @$f;
    my @files = map { upload(jsonl(1))->{json}{id} } 1 .. 24;
    every_call(sub {
        my $id = shift @files or return;
        my $r = api('DELETE', "/v1/files/$id");
        push @wrong, main::wrong_answer($r, %f) if $r->{status} != 200;
        fault_off() or return;
        fault(n => 0);
        $r = api('DELETE', "/v1/files/$id") if $r->{status} != 200;
        push @wrong, "again: $r->{status}" if $r->{status} !~ /^(200|404)$/;
        push @wrong, 'it is there' if http('GET', "/v1/files/$id")->{status} != 404;
        BatchFault::words(6, 1);
    }, %f, what => "deletion, @$f");
}

is_deeply(\@wrong, [], 'gone at last');
rebuilt();
is(scalar(grep { 1 } all_files()) > 0, 1, 'those that were not deleted are there');
nothing_left('deletions');
is(fault_resynced(), 0, 'no sync is tried again');


=== TEST 3: creations
--- flow
my $file = upload(jsonl(1))->{json}{id};
my (%promised, @wrong);

for my $f (@main::Faults) {
    my %f = @$f;

    # how many calls a creation makes: what follows is the next test's

    for my $n (1 .. 10) {
        fault(%f, n => $n);
        my $r = create_batch($file);
        fault_off();
        push @wrong, main::wrong_answer($r, %f) if $r->{status} != 200;
        $promised{$r->{json}{id}} = 1 if $r->{status} == 200;
    }
}

is_deeply(\@wrong, [], 'errors as they should be');
is(settle_batch($_)->{status}, 'completed', 'what was promised is done')
    for keys %promised;
nothing_left('creations');
is(fault_resynced(), 0, 'no sync is tried again');


=== TEST 4: batches: validation, journal, seal, finalizing
--- timeout: 300
--- flow
my @ids = map { "req-$_" } 1 .. 6;
my %file = map {
    my $late = $_ eq 'late' ? 'slow=60' : '';
    ($_ => upload(jsonl(6, mock => sub { $_[0] == 6 ? 'status=400'
                                         : $_[0] == 5 ? $late : '' }))
           ->{json}{id})
} qw(early late);
my (@all, @wrong);
my ($before, $free) = (open_files(),
                       api('GET', '/batch-status')->{json}{connections_free});

for my $way (map { my $w = $_; map { [$w, $_] } @main::Faults } sort keys %file) {
    my ($when, $f) = @$way;
    my %f = @$f;
    every_call(sub {
        my $b = create_batch($file{$when})->{json};
        fault(%f, n => $_[0]);
        $b = settle_batch($b->{id});
        fault_off();
        push @wrong, "$_[0]: " . ($b->{status} // 'none') . ' ' . fault_name()
            if ($b->{status} // '') ne 'completed';
        my @lines = exactly_once($b, @ids);
        push @wrong, "$_[0] @$f: @lines" if @lines;
        push @all, $b;
    }, %f, arms => 1, what => "batch, @$f",
       step => $f{action} eq 'short' ? 3 : 14);
}

is_deeply(\@wrong, [], 'all complete, each line exactly once');
is_clean($before, $free);
rebuilt();
for my $was (@all) {
    my $b = get_batch($was->{id});
    is_deeply([@{$b}{qw(status output_file_id error_file_id)}],
              [@{$was}{qw(status output_file_id error_file_id)}], 'the same later');
}
nothing_left('batches');
is(fault_resynced(), 0, 'no sync is tried again');


=== TEST 5: a disk that stays broken for a while
--- concurrency
3
--- flow
my @ids = map { "req-$_" } 1 .. 30;
my $b = create_batch(upload(jsonl(30, mock => 'slow=200'))->{json}{id})->{json};
wait_until(sub { get_batch($b->{id})->{request_counts}{completed} > 2 });
fault(n => 1, sticky => 1, errno => 'EIO');
ok(wait_until(sub { error_log_text() =~ /the store cannot be written, no line starts/ }, 20),
   'said');
my $r = upload(jsonl(1));
is($r->{status}, 500, 'an upload meanwhile');
is($r->{json}{error}{type}, 'server_error', 'as an error');
is(http('GET', '/v1/files')->{status}, 200, 'reading works');
my $n = get_batch($b->{id})->{request_counts}{completed};
fault_off();
$b = settle_batch($b->{id}, 120);
is($b->{status}, 'completed', 'the batch goes on by itself');
is_deeply([exactly_once($b, @ids)], [], 'each line exactly once');
cmp_ok($n, '<=', 30, 'counted what was synced');
is(fault_resynced(), 0, 'no sync is tried again');


=== TEST 6: uploads in parts, with and without a key
--- flow
my (%promised, @wrong);

sub main::steps {
    my ($data, $key) = @_;
    my @key = defined $key ? (headers => ['Idempotency-Key' => $key]) : ();
    my $r = api('POST', '/v1/uploads', { purpose => 'batch', bytes => length $data,
                filename => 'a.jsonl', mime_type => 'application/jsonl' }, @key);
    return $r if $r->{status} != 200;
    my $id = $r->{json}{id};
    my ($body, $type) = multipart(data => { data => $data, filename => 'a' });
    $r = api('POST', "/v1/uploads/$id/parts", undef, body => $body,
             headers => ['Content-Type' => $type]);
    return $r if $r->{status} != 200;
    return api('POST', "/v1/uploads/$id/complete",
               { part_ids => [$r->{json}{id}] });
}

for my $way (map { my $k = $_; map { [$k, $_] } @main::Faults } 0, 1) {
    my ($keyed, $f) = @$way;
    my %f = @$f;
    every_call(sub {
        my $data = jsonl(2, prefix => join('-', $keyed, @$f, "$_[0]-"));
        my $key = $keyed ? $data =~ s/\W//gr : undef;
        my $r = main::steps($data, $key);
        if ($r->{status} == 200) {
            $promised{$r->{json}{file}{id}} = $data;
            return;
        }
        push @wrong, "$_[0] @$f: $_" for main::wrong_answer($r, %f);

        # who tries again is served

        my $met = fault_off();
        $r = main::steps($data, $key);
        push @wrong, "$_[0] @$f, again: $r->{status} $r->{body}"
            if $r->{status} != 200;
        $promised{$r->{json}{file}{id}} = $data if $r->{status} == 200;
        BatchFault::words(6, $met);
    }, %f, what => "parts, key $keyed, @$f", step => 4);
}

is_deeply(\@wrong, [], 'errors as they should be');
rebuilt();
my @broken = grep { (content($_) // '') ne $promised{$_} } keys %promised;
is_deeply(\@broken, [], 'what was promised is there');
is(fault_resynced(), 0, 'no sync is tried again');


=== TEST 7: cancellations
--- concurrency
3
--- timeout: 300
--- flow
my @ids = map { "req-$_" } 1 .. 12;
my $file = upload(jsonl(12, mock => 'slow=60'))->{json}{id};
my @wrong;

for my $f (@main::Faults) {
    my %f = @$f;
    every_call(sub {
        my $b = create_batch($file)->{json};
        wait_until(sub { get_batch($b->{id})->{status} eq 'in_progress' });
        fault(%f, n => $_[0]);
        my $r = cancel_batch($b->{id});
        push @wrong, main::wrong_answer($r, %f) if $r->{status} !~ /^(200|409)$/;
        my $first = $r->{status};
        $b = settle_batch($b->{id});
        my $met = fault_off();
        push @wrong, "$_[0] @$f: $b->{status} after $first"
            unless $b->{status} eq 'cancelled'
                   || ($first != 200 && $b->{status} eq 'completed');
        my @lines = exactly_once($b, @ids);
        push @wrong, "$_[0] @$f: @lines" if @lines;
    }, arms => 1, %f, what => "cancellation, @$f",
       step => $f{action} eq 'short' ? 3 : 10);
}

is_deeply(\@wrong, [], 'cancelled, or never heard of it');
nothing_left('cancellations');
is(fault_resynced(), 0, 'no sync is tried again');
