package BatchHook;

# Copyright (C) the ngx_http_batch_module authors
#
# A receiver of webhooks that does what it is told and remembers what came, and
# an independent check of signatures.  To be used after BatchTest and before
# Test::Nginx::Socket; blocks name the receiver's address $TEST_NGINX_HOOK.
#
#     hook_script('500', 'hang', '200');
#                          what the next requests get, in their order; the last
#                          one is for all that follow.  Each flow begins with
#                          '200' and nothing remembered.
#     hooks()              what came: { action, time, path, headers, body, json,
#                          sent }, oldest first; sent: bytes of "endless"
#     wait_hooks(n)        waits until there are n; their number
#     hook_error(h, key)   undef if it is well signed, else what is wrong
#     hook_stop(), hook_start()
#
# Actions: a status; "302" also names another path of the receiver; "hang"
# answers nothing, "close" closes, "endless" is a 200 whose body does not end.

use strict;
use warnings;

use BatchTest;
use Digest::SHA qw(hmac_sha256);
use Exporter qw(import);
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64);
use POSIX ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(hook_script hooks wait_hooks hook_error hook_stop hook_start
                 hook_status);

my $owner = $$;
my ($port, $pid);
my $generation = 0;


sub hook_script {
    my $dir = test_dir();

    $generation++;

    open my $out, '>', "$dir/hook.new" or die "hook.new: $!\n";
    print $out join "\n", $generation, @_;
    close $out;
    rename "$dir/hook.new", "$dir/hook.script" or die "hook.script: $!\n";
}


sub hooks {
    return map { my $h = json_decode($_);
                 $h->{json} = eval { json_decode($h->{body}) };
                 $h }
           split /\n/, slurp(test_dir() . '/hook.log') // '';
}


sub wait_hooks {
    my ($n, $seconds) = @_;

    wait_until(sub { hooks() >= $n }, $seconds // 30);

    return scalar(my @all = hooks());
}


# of /batch-status, what is said about webhooks

sub hook_status { return api('GET', '/batch-status')->{json}{webhooks} }


# as a receiver checks it; no code of the module's is in here

sub hook_error {
    my ($h, $key) = @_;
    my $f = $h->{headers};

    for (qw(webhook-id webhook-timestamp webhook-signature)) {
        return "no $_" unless defined $f->{$_};
    }

    return 'the signature has another version'
        unless $f->{'webhook-signature'} =~ /^v1,(.*)/;

    my $want = encode_base64(hmac_sha256(
        "$f->{'webhook-id'}.$f->{'webhook-timestamp'}.$h->{body}", $key), '');

    return $1 eq $want ? undef : "the signature is $1, not $want";
}


sub hook_start {
    return if $pid;

    my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
                                  Listen => 64, ReuseAddr => 1)
        or die "port $port: $!\n";

    $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        # it ends with whoever started it
        serve($s, getppid());
        POSIX::_exit(0);
    }
}


sub hook_stop {
    return unless $pid;

    local $?;
    kill 'KILL', $pid;
    waitpid $pid, 0;
    undef $pid;
}


sub serve {
    my ($s, $parent) = @_;
    my $last = 0;
    my @script;

    $SIG{$_} = 'DEFAULT' for qw(TERM INT);
    $SIG{CHLD} = 'IGNORE';
    $s->timeout(1);

    while (getppid() == $parent) {
        my $c = $s->accept or next;

        my ($now, @lines) = split /\n/, slurp(test_dir() . '/hook.script')
                                        // "0\n200";

        ($last, @script) = ($now, @lines) if $now != $last;

        my $action = @script > 1 ? shift @script : $script[0] // '200';

        next if fork();

        close $s;
        eval { local $SIG{ALRM} = sub { die "too long\n" };
               alarm 60;
               request($c, $action) };
        POSIX::_exit(0);
    }
}


sub request {
    my ($c, $action) = @_;
    my $in = '';
    my %h;

    $SIG{PIPE} = 'IGNORE';

    sysread $c, $in, 65536, length $in or return
        while index($in, "\r\n\r\n") < 0;

    my ($head, $body) = split /\r\n\r\n/, $in, 2;
    my ($first, @lines) = split /\r\n/, $head;

    for (@lines) {
        my ($k, $v) = split /:\s*/, $_, 2;
        $h{lc $k} = defined $h{lc $k} ? "$h{lc $k}, $v" : $v;
    }

    sysread $c, $body, 65536, length $body or return
        while length $body < ($h{'content-length'} // 0);

    my ($method, $path) = split / /, $first;
    my %log = (action => $action, time => time(), method => $method,
               path => $path, headers => \%h, body => $body);

    return endless($c, \%log) if $action eq 'endless';

    remember(\%log);

    if ($action eq 'hang') {
        sysread $c, $in, 1;                   # until the other side closes
        return;
    }

    return if $action eq 'close';

    my $more = $action eq '302' ? "Location: /elsewhere\r\n" : '';

    syswrite $c, "HTTP/1.1 $action Is\r\n${more}Content-Length: 2\r\n"
                 . "Connection: close\r\n\r\nok";
}


sub endless {
    my ($c, $log) = @_;
    my $n = 0;

    syswrite $c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

    while (defined(my $k = syswrite $c, 'x' x 65536)) { $n += $k }

    remember({ %$log, sent => $n });
}


sub remember {
    my ($log) = @_;
    my $text = json_encode($log) . "\n";

    open my $out, '>>', test_dir() . '/hook.log' or return;
    syswrite $out, $text;
}


sub setup {
    $port = BatchTest::free_port();
    $ENV{TEST_NGINX_HOOK} = "127.0.0.1:$port";

    hook_start();

    require Test::Nginx::Util;

    Test::Nginx::Util::add_block_preprocessor(sub {
        my ($block) = @_;

        $block->set_value(flow => 'BatchHook::begin(); ' . $block->flow)
            if defined $block->flow;
    });
}


END { hook_stop() if $$ == $owner }


sub begin {
    hook_start();
    unlink test_dir() . '/hook.log';
    hook_script('200');
}

setup();

1;
