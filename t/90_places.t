# Tenants share the places of lines in flight, and the chunks that a worker
# holds, however many batches each of them has.

use strict;
use warnings;

use lib 't/lib';

BEGIN {
    # who has which place is one worker's to decide
    $ENV{BATCH_TEST_WORKERS} = 1;
}

use BatchTest;
use Test::Nginx::Socket 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(api_config => ($block->api_config // '')
                                    . '    batch_tenant $http_x_tenant;');
});

sub as { return (http => [headers => ['X-Tenant' => $_[0]]]) }

# n lines that take ms each; tenant a's are the long ones

sub file_of {
    my ($tenant, $n, $ms) = @_;
    my $text = $tenant eq 'a' ? 'a' x 4096 : 'b';

    return upload(jsonl($n, body => sub {
                      +{ model => 'm', mock => "slow=$ms",
                         messages => [{ role => 'user', content => $text }] }
                  }), headers => ['X-Tenant' => $tenant])->{json}{id};
}

# n batches of the tenant that run one file

sub batches {
    my ($tenant, $n, $file, %more) = @_;

    return map { create_batch($file, as($tenant), %more)->{json}{id} } 1 .. $n;
}

# whose lines the mock has seen, in their order

sub whose {
    my ($path) = @_;

    return map { $_->{bytes} > 4096 ? 'a' : 'b' }
           grep { !defined $path || index($_->{path}, $path) == 0 }
           @{ mock_get('/mock/log')->{data} };
}

# how many of a's there are between the first and the last of b's

sub between {
    my @who = @_;
    my ($first) = grep { $who[$_] eq 'b' } 0 .. $#who;
    my ($last) = grep { $who[$_] eq 'b' } reverse 0 .. $#who;

    return scalar(grep { $_ eq 'a' } @who[$first .. $last]);
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: forty batches have no more places than another tenant's one
--- concurrency: 4
--- flow
my @a = main::batches('a', 40, main::file_of('a', 100, 20));
ok(wait_until(sub { main::whose() >= 60 }, 30), 'one has all the places');

my ($b) = main::batches('b', 1, main::file_of('b', 60, 20));
wait_batch($b, main::as('b'), timeout => 60);

# from its first line to its last one it had half of the places: the others are
# alone for what is in flight at either end

my @who = main::whose();
my $others = main::between(@who);

is(scalar(grep { $_ eq 'b' } @who), 60, 'all its lines');
cmp_ok($others, '<=', 80, 'while as many of the forty were sent');
cmp_ok($others, '>=', 40, 'and no fewer');
cancel_batch($_, headers => ['X-Tenant' => 'a']) for @a;
wait_batch($_, main::as('a'), timeout => 60) for @a;



=== TEST 2: one that comes when all places hold long lines has the next free one
--- concurrency: 2
--- flow
my @a = main::batches('a', 3, main::file_of('a', 40, 1500));
ok(wait_until(sub { mock_stats()->{inflight} == 2 }, 30), 'both are taken');

my ($b) = main::batches('b', 1, main::file_of('b', 1, 0));
wait_batch($b, main::as('b'), until => qr/^(in_progress|completed)$/);
is(wait_batch($b, main::as('b'), timeout => 60)->{status}, 'completed',
   'it is done');

my @who = main::whose();
my ($first) = grep { $who[$_] eq 'b' } 0 .. $#who;

# at most what had begun before, and what began while it was validated
cmp_ok($first, '<=', 30, 'after what was in flight');
cancel_batch($_, headers => ['X-Tenant' => 'a']) for @a;



=== TEST 3: a job's places are shared, too
--- http_extra
    batch_job narrow concurrency=2 pass=/narrow-lines;
--- server_extra
location /narrow-lines/ { internal; proxy_pass http://inference/narrow/; }
--- concurrency: 16
--- flow
my @a = (main::batches('a', 2, main::file_of('a', 100, 500)),
         main::batches('a', 3, main::file_of('a', 100, 20),
                       job_id => 'narrow'));
ok(wait_until(sub { main::whose('/narrow') >= 20 }, 30),
   'one has lines in the job, and many more elsewhere');

# another one has none but in the job; that it has fewer does not push those of
# the first one out

my ($b) = main::batches('b', 1, main::file_of('b', 60, 20),
                        job_id => 'narrow');
is(wait_batch($b, main::as('b'), timeout => 60)->{status}, 'completed',
   'it is done');

my $others = main::between(main::whose('/narrow'));
cmp_ok($others, '>=', 15, 'the first one had its turns in the job');
cmp_ok($others, '<=', 80, 'and no more');
cancel_batch($_, headers => ['X-Tenant' => 'a']) for @a;
