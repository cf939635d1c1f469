# What crashes leave in the store goes after a grace, and nothing else does.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $Old = time() - 3 * 86400;

sub put {
    my ($path, $text, $time) = @_;
    my $file = store_dir() . "/$path";
    (my $dir = $file) =~ s{/[^/]+$}{};

    system 'mkdir', '-p', $dir;
    open my $out, '>', $file or die "$file: $!";
    print $out $text;
    close $out;
    utime $time, $time, $file if $time;

    return $file;
}

sub age {
    utime $Old, $Old, $_ or die "$_: $!" for @_;
}

# nginx starts again, and the walk begins

sub restart {
    nginx_stop('QUIT');
    nginx_start() or die 'nginx does not start';
    wait_ready();
}

sub paths {
    my ($id) = @_;
    return sort glob store_dir() . "/files/*/$id*";
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: blobs, tombstones, directories, parts, tmp
--- flow
my $f = upload(jsonl(1))->{json}{id};
my $deleted = upload(jsonl(1))->{json}{id};
my $recent = upload(jsonl(1))->{json}{id};
api('DELETE', "/v1/files/$_") for $deleted, $recent;
my $cut = upload(jsonl(1))->{json}{id};

my %gone = (
    blob => main::put("files/zz/file-zz3456789012345678901234", 'x', $main::Old),
    part => main::put("uploads/zz/upload_zz3456789012345678901234/part_zz3456789012345678901234", 'x', $main::Old),
    tmp => main::put('tmp/old', 'x', $main::Old),
    tombstone => (main::paths($deleted))[0],
);
my %stay = (
    young => main::put("files/zz/file-zz3456789012345678901235", 'x', time() - 86400),
    named => main::put("files/zz/file-zz3456789012345678901236", 'x', $main::Old),
    foreign => main::put('files/zz/README', 'x', $main::Old),
    tmp => main::put('tmp/young', 'x', time() - 3600),
    tombstone => (main::paths($recent))[0],
    file => (main::paths($f))[0],
    manifest => (main::paths($f))[1],
);
link $stay{named}, test_dir() . '/second' or die;
like($gone{tombstone}, qr/\.del$/, 'a tombstone');
main::age($gone{tombstone}, main::paths($f));

my $never = store_dir() . '/batches/zz/batch_zz3456789012345678901234';
my $now = store_dir() . '/batches/zz/batch_zz3456789012345678901235';
system 'mkdir', '-p', $never, $now;
main::age($never, glob store_dir() . '/uploads/zz/*');

# a deletion that has got as far as its tombstone

main::put(join('/', 'files', substr($cut, 5, 2), "$cut.del"), '{"v":1}');

main::restart();

for (sort keys %gone) {
    my $file = $gone{$_};
    ok(wait_until(sub { !-e $file }, 30), "$_ goes");
}
ok(wait_until(sub { !-d $never }), 'a batch that never was');
ok(wait_until(sub { @{[main::paths($cut)]} == 1 }), 'the deletion is finished');
ok(-e $stay{$_}, "$_ stays") for sort keys %stay;
ok(-d $now, 'a young directory stays');
is(content($f), jsonl(1), 'the file is as it was');
is(http('GET', "/v1/files/$_")->{status}, 404, 'a deleted one is gone')
    for $deleted, $recent;
like(error_log_text(), qr/file-zz3456789012345678901234: never became a file, blob deleted/, 'said');

# nor does anything come back by a rebuild

redis('FLUSHALL');
ok(wait_until(sub { http('GET', "/v1/files/$f")->{status} == 200 }, 15), 'rebuilt');
is(http('GET', "/v1/files/$_")->{status}, 404, 'still gone')
    for $deleted, $recent, $cut;


=== TEST 2: a result that nobody settled
--- flow
my $b = run_batch(jsonl(5));
my $out = $b->{output_file_id};
my ($blob, $manifest) = main::paths($out);
my ($dir) = glob store_dir() . "/batches/*/$b->{id}";

# the worker died right behind final.json, two days ago

my $work = "$dir/c0.1.seg";
main::put('tmp/x', 'x');
rename store_dir() . '/tmp/x', $work or die;
unlink $manifest or die;
main::age($blob);

main::restart();
ok(wait_until(sub { !-e $work }, 30), 'the segment goes');
ok(-e $manifest, 'the manifest is there');
is(scalar output_lines($b), 5, 'and the output');


=== TEST 3: a deleted output does not come back when its tombstone is gone
--- flow
my $b = run_batch(jsonl(5));
my $out = $b->{output_file_id};
is(api('DELETE', "/v1/files/$out")->{status}, 200, 'deleted');
my ($del) = main::paths($out);
main::age($del);
main::restart();
ok(wait_until(sub { !-e $del }, 30), 'the tombstone goes');
redis('FLUSHALL');
ok(wait_until(sub { http('GET', "/v1/batches/$b->{id}")->{status} == 200 }, 15),
   'rebuilt');
is(http('GET', "/v1/files/$out")->{status}, 404, 'it does not come back');
is_deeply([main::paths($out)], [], 'nor on disk');
is((grep { $_->{id} eq $out } @{ api('GET', '/v1/files')->{json}{data} }), 0,
   'nor in the list');


=== TEST 4: what a batch needed goes with its end
--- flow
my $long = run_batch(jsonl(300));
my $short = run_batch(jsonl(3));
my $bad = create_batch(upload(jsonl(2) . "{\n")->{json}{id})->{json};
is(wait_batch($bad->{id})->{status}, 'failed', 'a bad one has failed');

for ($long, $short, $bad) {
    my ($dir) = glob store_dir() . "/batches/*/$_->{id}";

    ok(wait_until(sub { -e "$dir/final.json" && !-e "$dir/input"
                        && !glob "$dir/*.{seg,seal}" }, 30),
       "$_->{id}: no work files");
}
