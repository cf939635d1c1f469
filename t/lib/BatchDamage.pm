package BatchDamage;

# Copyright (C) the ngx_http_batch_module authors
#
# A store that is damaged by hand, for tests of what becomes of it.
#
#     use BatchDamage;                       behind BatchTest
#
#     bytes($path, $text)        the file has this text now
#     manifest($path, $text)     the same of JSON, with the checksum that it has to
#                                have there
#     flip($path, $offset)       one bit of it is another one
#     link_out($path)            the name is a link to a file outside, which has
#                                what it had; outside() tests that nobody has
#                                written there
#     dir_of($id)                a batch's directory
#     segments($id), seals($id)  paths of its work files
#     half(%o)                   a batch that gets half-way: its first lines
#                                (good => N) are answered and durable, of them
#                                the last (late => N) some time after the
#                                others, the rest (hanging => N) hangs; its ids
#                                begin with prefix
#     heal($id)                  its lines do not hang any more
#     groups($path)              how far the segment was durable, by what its
#                                records say
#     whole($name, $id, $n, $prefix)
#                                tests that the batch ends with each of the n
#                                lines once, each with its own answer
#     alert($name, $regex)       tests that the log has that
#
# None is exported: the blocks of a test run in packages of their own.

use strict;
use warnings;

use BatchTest;
use Digest::SHA qw(sha1_hex);
use Test::More ();

our $Outside = test_dir() . '/outside';
our $Half = 10;                  # lines of a batch that are answered first

my $had;                         # what is outside
my @table;                       # of the checksum, by byte

sub bytes {
    my ($path, $bytes) = @_;

    open my $f, '>:raw', $path or die "$path: $!";
    print $f $bytes;
    close $f or die "$path: $!";
}

# CRC-32C of all before the comma, behind the place of what has one name only.

sub manifest {
    my ($path, $text) = @_;
    my ($place, $name) = $path =~ m{([^/]+/([^/]+))$};

    $place = $name =~ /^(file-\w+|final|cancel)\.json$/ ? '' : "$place\0";
    $text =~ s/(,"crc":"\w+")?\}\s*$//;

    my $crc = crc32c($place . $text);

    bytes($path, sprintf '%s,"crc":"%08x"}', $text, $crc);
}

sub crc32c {
    my ($text) = @_;
    my $crc = 0xffffffff;

    if (!@table) {
        for (my $i = 0; $i < 256; $i++) {
            my $n = $i;

            $n = $n & 1 ? $n >> 1 ^ 0x82f63b78 : $n >> 1 for 1 .. 8;
            push @table, $n;
        }
    }

    for my $byte (unpack 'C*', $text) {
        $crc = $crc >> 8 ^ $table[($crc ^ $byte) & 255];
    }

    return $crc ^ 0xffffffff;
}

sub flip {
    my ($path, $at) = @_;
    my $text = slurp($path);

    substr($text, $at, 1) ^= "\x10";
    bytes($path, $text);
}

sub link_out {
    my ($path) = @_;

    bytes($Outside, slurp($path) // '');
    $had = sha1_hex(slurp($Outside));
    unlink $path;
    symlink $Outside, $path or die "$path: $!";
}

sub outside {
    Test::More::is(sha1_hex(slurp($Outside)), $had,
                   'the file outside is as it was');
}

sub dir_of {
    my ($id) = @_;
    my ($dir) = glob store_dir() . "/batches/*/$id";

    return $dir // '';
}

sub segments { return sort glob dir_of($_[0]) . '/*.seg' }
sub seals    { return sort glob dir_of($_[0]) . '/*.seal' }

sub half {
    my (%o) = @_;
    my $good = $o{good} // $Half;
    my $late = $o{late} // 0;
    my $in = jsonl($good + ($o{hanging} // $Half),
                   prefix => $o{prefix} // 'half-',
                   mock => sub { $_[0] > $good ? 'hang'
                               : $_[0] > $good - $late ? 'slow=500' : '' });
    my $b = create_batch(upload($in)->{json}{id})->{json};

    wait_until(sub {
        get_batch($b->{id})->{request_counts}{completed} >= $good
    }, 60) or die 'the batch does not get half-way';

    return $b->{id};
}

# The word is replaced by one that the mock does not know, of the same length,
# so that the plan still holds.

sub heal {
    my ($id) = @_;
    my $path = dir_of($id) . '/input';
    my $text = slurp($path);

    $text =~ s/"hang"/"fine"/g;
    open my $f, '+<:raw', $path or die "$path: $!";
    print $f $text;
    close $f or die "$path: $!";
}

sub groups {
    my ($path) = @_;
    my $text = slurp($path) // '';
    my %base;

    for (my $at = 0; $at + 84 <= length $text; ) {
        my ($magic, $len) = unpack 'a4 V', substr $text, $at, 8;

        last if $magic ne 'BCR2';
        $base{unpack 'Q<', substr $text, $at + 72, 8} = 1;
        $at += 84 + $len;
    }

    my @base = sort { $a <=> $b } keys %base;

    return @base;
}

sub whole {
    my ($name, $id, $n, $prefix) = @_;
    my $b = wait_batch($id, timeout => 90);
    my @out = output_lines($b);

    Test::More::is($b->{status}, 'completed', "$name: completed");
    Test::More::is_deeply($b->{request_counts},
        { total => $n, completed => $n, failed => 0 }, "$name: counts");
    Test::More::is_deeply([map { $_->{custom_id} } @out],
                          [map { "$prefix$_" } 1 .. $n],
                          "$name: each line exactly once");
    Test::More::is_deeply(
        [map { $_->{response}{body}{choices}[0]{message}{content} } @out],
        [map { "You said: question number $_" } 1 .. $n],
        "$name: with its own answer");
}

sub alert {
    my ($name, $re) = @_;

    Test::More::ok(wait_until(sub { error_log_text() =~ $re }, 20),
                   "$name: an alert") or Test::More::diag($re);
}

1;
