# A worker is killed at each call that changes the disk.  What was answered 200
# is there, what was not is there or not, but whole; no line is lost or doubled;
# nothing is left when the grace is over.  BATCH_SOAK=1 tries every call, before
# and after it; otherwise some of those of a batch are left out.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchFault;
use BatchDeath;
use Test::Nginx::Socket 'no_plan';

our @Actions = soak() ? qw(kill_before kill_after) : ('kill_after');

# what every block says: a worker that dies is an alert of nginx's

Test::Nginx::Util::add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(no_error_log => "[emerg]\nruntime error:\n");
    $block->set_value(no_shutdown_error_log => "[emerg]\nruntime error:\n");
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: uploads
--- flow
my (%tried, %promised);

for my $action (@main::Actions) {
    every_call(sub {
        my $data = jsonl(2, prefix => "$action-$_[0]-");
        my $r = upload($data);
        $tried{$data} = 1;
        $promised{$r->{json}{id}} = $data if $r->{status} == 200;
        wait_ready();
    }, action => $action, what => "upload, $action");
}

my @broken = grep { (content($_) // '') ne $promised{$_} } keys %promised;
is_deeply(\@broken, [], 'what was promised is there');

rebuilt();
my %there = map { $_->{id} => $_ } all_files();
@broken = grep { !$there{$_} } keys %promised;
is_deeply(\@broken, [], 'also when Redis has lost it');
@broken = grep { !$tried{content($_) // ''} } keys %there;
is_deeply(\@broken, [], 'and all that is there is whole');
nothing_left('uploads');
no_alerts();


=== TEST 2: deletions
--- flow
my (@ids, @gone);

for my $action (@main::Actions) {
    my @files = map { upload(jsonl(1))->{json}{id} } 1 .. 24;
    every_call(sub {
        my $id = shift @files or return;
        push @ids, $id;
        push @gone, $id
            if api('DELETE', "/v1/files/$id")->{status} == 200;
        wait_ready();
    }, action => $action, what => "deletion, $action");
}

is(http('GET', "/v1/files/$_")->{status}, 404, 'what was promised is gone')
    for @gone;
rebuilt();
is(http('GET', "/v1/files/$_")->{status}, 404, 'and does not come back')
    for @gone;

# the others are there, whole, or gone, and can be deleted once more

for my $id (@ids) {
    my $there = http('GET', "/v1/files/$id")->{status} == 200;
    is(content($id), $there ? jsonl(1) : undef, 'whole or gone');
    like(api('DELETE', "/v1/files/$id")->{status}, $there ? qr/200/ : qr/404/,
         'once more');
}
nothing_left('deletions');
no_alerts();


=== TEST 3: uploads in parts
--- flow
my (%tried, %promised);

sub main::in_parts {
    my ($data) = @_;
    my $u = api('POST', '/v1/uploads', { purpose => 'batch', bytes => length $data,
                filename => 'a.jsonl', mime_type => 'application/jsonl' });
    return unless $u->{status} == 200;
    my ($body, $type) = multipart(data => { data => $data, filename => 'a' });
    my $p = api('POST', "/v1/uploads/$u->{json}{id}/parts", undef,
                body => $body, headers => ['Content-Type' => $type]);
    return unless $p->{status} == 200;
    my $r = api('POST', "/v1/uploads/$u->{json}{id}/complete",
                { part_ids => [$p->{json}{id}] });
    return $r->{status} == 200 ? $r->{json}{file}{id} : undef;
}

for my $action (@main::Actions) {
    every_call(sub {
        my $data = jsonl(2, prefix => "$action-$_[0]-");
        my $id = main::in_parts($data);
        $tried{$data} = 1;
        $promised{$id} = $data if $id;
        wait_ready();
    }, action => $action, what => "parts, $action", step => 2);
}

my @broken = grep { (content($_) // '') ne $promised{$_} } keys %promised;
is_deeply(\@broken, [], 'what was promised is there');
rebuilt();
my %there = map { $_->{id} => $_ } all_files();
@broken = grep { !$there{$_} } keys %promised;
is_deeply(\@broken, [], 'also when Redis has lost it');
@broken = grep { !$tried{content($_) // ''} } keys %there;
is_deeply(\@broken, [], 'and all that is there is whole');
no_alerts();


=== TEST 4: batches: creation, validation, journal, seal, finalizing
--- flow
# answers that come at once make the result; with one that is late there are a
# segment and a seal

my @ids = map { "req-$_" } 1 .. 6;
my %file = (early => upload(jsonl(6))->{json}{id},
            late => upload(jsonl(6, mock => sub { $_[0] == 6 ? 'slow=60'
                                                             : '' }))
                    ->{json}{id});
my (%promised, @wrong);

for my $way (map { my $w = $_; map { [$w, $_] } @main::Actions } sort keys %file) {
    my ($when, $action) = @$way;
    every_call(sub {
        my $r = create_batch($file{$when});
        wait_ready();
        return if $r->{status} != 200;
        my $b = settle_batch($r->{json}{id});
        $promised{$b->{id}} = $b if $b->{id};
        push @wrong, "$_[0]: $b->{status}" if $b->{status} ne 'completed';
    }, action => $action, what => "batch, $when, $action", step => 6);
}

is_deeply(\@wrong, [], 'all are completed');
rebuilt();

# also those that were not answered

for my $b (all_batches()) {
    my $was = delete $promised{$b->{id}};
    $b = settle_batch($b->{id});
    is($b->{status}, 'completed', 'completed');
    is_deeply([exactly_once($b, @ids)], [], 'each line exactly once');
    is($b->{request_counts}{completed}, 6, 'counted');
    is($b->{output_file_id}, $was->{output_file_id}, 'the same output') if $was;
}
is_deeply([keys %promised], [], 'none is missing');
nothing_left('batches');
no_alerts();


=== TEST 5: cancellations
--- concurrency
3
--- flow
my @ids = map { "req-$_" } 1 .. 12;
my $file = upload(jsonl(12, mock => 'slow=60'))->{json}{id};
my (@wrong, $b);

for my $action (@main::Actions) {
    every_call(sub {
        my $n = $_[0];
        $b = steadily(sub { create_batch($file) })->{json};
        wait_until(sub { ((get_batch($b->{id}) // {})->{status} // '') eq 'in_progress' });
        fault(n => $n, action => $action);
        my $first = cancel_batch($b->{id})->{status};
        $b = settle_batch($b->{id});

        # it may never have come in, and others be there still

        push @wrong, "$n: $b->{status} after $first"
            unless $b->{status} eq 'cancelled'
                   || ($first != 200 && $b->{status} eq 'completed');
        my @lines = exactly_once($b, @ids);
        push @wrong, "$n: @lines" if @lines;
    }, arms => 1, action => $action, what => "cancellation, $action", step => 8);
}

is_deeply(\@wrong, [], 'cancelled, or never heard of it');
nothing_left('cancellations');
no_alerts();
