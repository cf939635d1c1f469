# A path of the API is the prefix of its location, a collection right behind it,
# and nothing else: what a rule of the configuration names has no second path.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# The operations that are denied below, each by a rule that names its path; what
# else is below these prefixes is allowed.

our $Rules = <<'CONF';
location ~ ^/regex/files/[^/]+/content$ { deny all; }
location /regex/ { batch_api; batch_pass /batch-lines; }

location /nested/ {
    batch_api;
    batch_pass /batch-lines;
    location ~ ^/nested/files/[^/]+/content$ { deny all; }
}

location /prefix/files/ { deny all; }
location /prefix { batch_api; batch_pass /batch-lines; }

location ^~ /before/files/ { deny all; }
location ~ ^/before/ { batch_api; batch_pass /batch-lines; }

location ~ ^/both/files/[^/]+/content$ { deny all; }
location ~ ^/both/(files|uploads|batches) {
    batch_api;
    batch_pass /batch-lines;
}

location ~ ^/dots/files/[^/]+/content$ { deny all; }
location ~ ^/dots/.*$ { batch_api; batch_pass /batch-lines; }

location /uri/ {
    if ($request_uri ~ ^/uri/files/[^/]+/content) { return 403; }
    batch_api;
    batch_pass /batch-lines;
}

location ~ ^/except/files {
    limit_except GET { deny all; }
    batch_api;
    batch_pass /batch-lines;
}
location /except/ { batch_api; batch_pass /batch-lines; }

location = /exact/batches { deny all; }
location /exact/ { batch_api; batch_pass /batch-lines; }
CONF


# Other ways to write /p/files/x/content, or to lead there.

sub spellings {
    my ($path) = @_;
    my ($prefix, $what) = $path =~ m{^(/\w+)/(.+)$};
    my @part = split m{/}, $path;
    my @paths = map { "$prefix/$_" } "batches/x/$what", "uploads/x/$what",
        "x/$what", "files/x/$what", "files/$what", "batches/$what",
        "x/y/z/$what", "v1/$what", "/$what", "//$what", "./$what",
        "x/../$what", "x/%2e%2e/$what", "../$prefix/$what", "%2e/$what",
        "files/../$what", "batches/x/../../$what", "\u$what",
        "files%2F..%2F$what", "batches%2Fx%2F$what", "$what;a=b";

    push @paths, "/$path", "//$path", "/.$path", "/x/..$path", "/%2E$path",
        "$path/", "$path//", "$path/.", "$path/x/..", "$path%20", "$path%2F",
        "$path\\", "$path.", "/x$path", "/files$path", "$path/x",
        "http://localhost/$path", "http://localhost$prefix//$what";

    for my $i (2 .. $#part) {
        for my $sep ('//', '/./', '/x/../', '%2F', '%2f', '/%2e/', '/.//',
                     '/x//../', '\\', '%5C', ';/')
        {
            push @paths, join('/', @part[0 .. $i - 1]) . $sep
                         . join('/', @part[$i .. $#part]);
        }
    }

    for my $i (1 .. $#part) {
        my @copy = @part;
        my $hex = sprintf '%%%02x', ord $part[$i];

        $copy[$i] = $hex . substr $part[$i], 1;
        push @paths, join '/', @copy;

        $copy[$i] = join '', map { sprintf '%%%02X', ord } split //, $part[$i];
        push @paths, join '/', @copy;

        $copy[$i] = '%25' . substr($hex, 1) . substr $part[$i], 1;
        push @paths, join '/', @copy;
    }

    return @paths;
}


# No spelling of it is answered otherwise than by a refusal, which the path
# itself gets from the rule.

sub is_denied {
    my ($method, $path, @http) = @_;

    Test::More::is(http($method, $path, @http)->{status}, 403,
                   "$method $path is denied");
    Test::More::is(http($method, "$path?x=/v1/files", @http)->{status}, 403,
                   'with a query, too');

    my @passed = grep {
        http($method, $_, @http)->{status} !~ /^(400|403|404|405)$/
    } main::spellings($path);

    Test::More::is(join("\n", @passed), '', "$method $path: no way round");
}


sub denied {
    my $data = jsonl(2);
    my $f = upload($data)->{json}{id};

    for my $p (qw(regex nested prefix before both dots uri)) {
        my $r = http('GET', "/$p/batches");

        Test::More::is($r->{status}, 200, "/$p/batches is allowed");
        main::is_denied('GET', "/$p/files/$f/content");
        main::is_denied('HEAD', "/$p/files/$f/content");
    }

    Test::More::is(http('GET', "/except/files/$f")->{status}, 200,
                   'GET is allowed');
    main::is_denied('DELETE', "/except/files/$f");
    Test::More::is(http('GET', "/v1/files/$f")->{status}, 200,
                   'it is still there');

    main::is_denied('GET', '/exact/batches');
    main::is_denied('POST', '/exact/batches', body => json_encode({
        input_file_id => $f, endpoint => '/v1/chat/completions',
        completion_window => '24h' }));
    Test::More::is_deeply(api('GET', '/v1/batches')->{json}{data}, [],
                          'no batch was made');
}


# Of GET: the paths that are calls, and those that are none.

sub is_table {
    my ($calls, $none) = @_;

    for (@$calls) {
        Test::More::is(http('GET', $_)->{status}, 200, "GET $_");
    }

    for (@$none) {
        my $r = http('GET', $_);

        Test::More::is($r->{status}, 404, "GET $_");
        Test::More::like($r->{body},
                         qr/^\{"error":\{"message":"(Invalid URL|No such)/,
                         "GET $_: JSON");
    }
}

no_root_location();
run_tests();

__DATA__

=== TEST 1: no path leads round a rule
--- server_extra eval
$main::Rules
--- flow
main::denied();



=== TEST 2: nor with slashes that are not merged
--- server_extra eval
"merge_slashes off;\n$main::Rules"
--- flow
main::denied();



=== TEST 3: the prefix of a location
--- server_extra
location /a/ { batch_api; batch_pass /batch-lines; }
location /q { batch_api; batch_pass /batch-lines; }
location /c/files { batch_api; batch_pass /batch-lines; }
location = /d/files { batch_api; batch_pass /batch-lines; }
location /files/v1/ { batch_api; batch_pass /batch-lines; }
location ^~ "/e f/" { batch_api; batch_pass /batch-lines; }
location /g/ {
    location /g/h/ { batch_api; batch_pass /batch-lines; }
}
location / { batch_api; batch_pass /batch-lines; }
--- flow
my $f = upload(jsonl(1))->{json}{id};

main::is_table(
    ['/a/files', "/a/files/$f", "/a/files/$f/content", '/a/batches',
     '/q/files', '/c/files', "/c/files/$f", '/d/files', '/files/v1/batches',
     '/files/v1/files', "/files/v1/files/$f", '/e%20f/files', '/g/h/files',
     '/files', '/batches', "/files/$f"],
    ['/a/', '/a/v1/files', '/a/files/', '/a//files', '/a/filesx', '/q',
     '/q/q/files', '/q//files', '/qfiles', '/qq/files', '/c/filesx',
     '/c/batches', '/c/files/batches', '/c/files/files', "/d/files/$f",
     '/%65%20f/files', '/g/h/h/files', '/x/files',
     '/x/v1/batches', '/']
);



=== TEST 4: the prefix of an expression is what it cannot do without
--- server_extra
location ~ ^/a/(files|batches) { batch_api; batch_pass /batch-lines; }
location ~ ^/b/ { batch_api; batch_pass /batch-lines; }
location ~ ^/c/.* { batch_api; batch_pass /batch-lines; }
location ~ ^/d(/team-\d+)?/(files|batches) {
    batch_api;
    batch_pass /batch-lines;
}
location ~ ^/e/[^/]+/v1/ { batch_api; batch_pass /batch-lines; }
location ~ ^/f/files/[^/]+/content$ { batch_api; batch_pass /batch-lines; }
location ~* ^/g/v1 { batch_api; batch_pass /batch-lines; }
location ~ /h/v1/(?<what>files|batches)(/|$) {
    batch_api;
    batch_pass /batch-lines;
}
location ~ ^/i/(?!chat) { batch_api; batch_pass /batch-lines; }
--- flow
my $f = upload(jsonl(1))->{json}{id};

main::is_table(
    ['/a/files', "/a/files/$f", '/b/files', '/b/batches', '/c/files',
     "/c/files/$f/content", '/d/files', '/d/team-1/files',
     "/d/team-12/files/$f", '/e/x/v1/files', '/e/y/v1/batches',
     "/f/files/$f/content", '/g/v1/files', '/G/V1/files', '/h/v1/files',
     '/x/y/h/v1/files', "/h/v1/files/$f", '/i/files'],
    ['/a/filesx', '/a/batches/x/files', "/a/batches/x/files/$f", '/b/',
     '/b/x/files', '/c/', '/c/x/files', '/c/x/y/files', '/c/v1/batches',
     '/d/team-1/files/x/y/z', '/d/filesx', '/e/x/v1/', '/e/x/v1/y/files',
     '/e/x/v1/v1/files', '/f/files/x/content', '/g/v1/FILES', '/g/v1/x/files',
     '/h/v1/files/', '/i/x/files', '/i/', '/c' . '/x' x 1000 . '/files',
     '/e/x/v1' . '/x' x 1000 . '/files']
);
like(error_log_text(), qr{\[warn\].*location "/h/v1/\(\?<what>.*"\^"},
     'an expression for any prefix is warned of');
is(() = error_log_text() =~ /does not begin with/g, 1, 'no other one is');



=== TEST 5: a path that was rewritten counts as it is then
--- server_extra
location /a/ { batch_api; batch_pass /batch-lines; }
location /download/ { rewrite ^/download/(.*)$ /a/files/$1/content last; }
location /b/ {
    rewrite ^/b/deployments/[^/]+/(.*)$ /b/$1 break;
    batch_api;
    batch_pass /batch-lines;
}
location ~ ^/c/ {
    rewrite ^/c/deployments/[^/]+/(.*)$ /c/$1 break;
    rewrite ^/c/away/(.*)$ /elsewhere/$1 break;
    batch_api;
    batch_pass /batch-lines;
}
location /try/ { try_files /nothing /a/files; }
--- flow
my $f = upload(jsonl(3))->{json}{id};

main::is_table(
    ["/download/$f", '/b/files', '/b/deployments/x/files',
     "/b/deployments/x/files/$f/content", '/c/files',
     '/c/deployments/x/files', '/try/x'],
    ['/download/x/y', '/download/x', '/b/x/files', '/b/deployments/files',
     '/c/away/files', '/c/deployments/files']
);
is(http('GET', "/download/$f")->{body}, jsonl(3), 'the content');



=== TEST 6: a named location has no prefix
--- server_extra
location @a { batch_api; batch_pass /batch-lines; }
--- must_die
--- error_log
"batch_api" in location "@a": the paths of the API begin with the prefix
