# While a webhook is claimed, looked up, sent and marked, each read fails once,
# each change of the disk, each call that takes a descriptor, each allocation: it
# is delivered all the same, at least once.  Timers are twenty times as fast.
# BATCH_SOAK=1 tries every call, otherwise some are left out.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchFault;
use BatchDeath;
BEGIN { $ENV{FAULT_SPEED} = 20 }
use Test::Nginx::Socket 'no_plan';

Test::Nginx::Util::workers(1);

our $Its = qr{(socket|close)\(\)[ ].*failed|$Unusable}x;

sub delivered {
    my ($id) = @_;

    # whoever puts it off for long is not waited for

    my $due = redis('ZADD', '{batch}:hd', 'XX', 0, $id);

    return !defined redis('ZSCORE', '{batch}:hd', $id)
           && -e store_dir() . '/batches/' . substr($id, 6, 2)
                 . "/$id/hook.json";
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: each of its calls
--- api_config
    batch_webhook /hook secret=a;
--- server_extra
location = /hook { internal; return 204; }
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/redis.sock timeout=40s;
--- no_error_log
[emerg]
exited on signal
--- no_shutdown_error_log
[emerg]
--- timeout: 300
--- flow
my $id = run_batch(jsonl(1))->{id};
ok(wait_until(sub { main::delivered($id) }, 30), 'it is delivered');
my $mark = store_dir() . '/batches/' . substr($id, 6, 2) . "/$id/hook.json";
my ($before, $free) = (open_files(),
                       api('GET', '/batch-status')->{json}{connections_free});

for my $f ([class => 'reads', errno => 'EIO'], [class => 'opens', errno => 'EMFILE'],
           [class => 'changes', errno => 'EIO'], [class => 'changes', errno => 'ENOSPC'],
           [class => 'memory', where => 'threads'],
           [class => 'memory', where => 'events'])
{
    every_call(sub {
        unlink $mark;
        redis('ZADD', '{batch}:hd', 0, $id);
        ok(wait_until(sub { main::delivered($id) }, 30),
           'it is delivered') or diag("$_[0] @$f " . fault_name());
    }, @$f, what => "webhook, @$f", step => $f->[-1] eq 'events' ? 8 : 2);
}

is(fault_resynced(), 0, 'no sync is tried again');
is_clean($before, $free);
my @left = leftovers('tmp');
cmp_ok(scalar @left, '<=', 2, 'no file is left but what could not be unlinked');
no_alerts($main::Its);
