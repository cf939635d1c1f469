package BatchLua;

# Copyright (C) the ngx_http_batch_module authors
#
# Redis' scripts as the module sends them: scripts/lua2c.sh makes their header,
# from which they are taken.
#
#     my %text = BatchLua::scripts();      # "batch_get" => "local ..."

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Temp;

my $Root = dirname(abs_path(__FILE__)) . '/../..';


sub files { return glob "$Root/src/*/*.lua" }

sub names {
    return grep { $_ ne 'prelude' } map { basename($_, '.lua') } files();
}


sub scripts {
    # gone with its scope: a process that ends by _exit() cleans up nothing

    my $dir = File::Temp->newdir('batch-lua-XXXXXX', TMPDIR => 1);

    system('sh', "$Root/scripts/lua2c.sh", "$dir/lua.h", files()) == 0
        or die "scripts/lua2c.sh failed\n";

    open my $in, '<:raw', "$dir/lua.h" or die "$dir/lua.h: $!\n";
    my (%text, $name);

    while (my $line = <$in>) {
        if ($line =~ /^#define NGX_HTTP_BATCH_LUA_(\w+) /) {
            $name = lc $1;

        } elsif ($line =~ /^ +"(.*)"/) {
            my %special = (n => "\n", t => "\t");
            $text{$name} .= $1 =~ s/\\(.)/$special{$1} \/\/ $1/ger;
        }
    }

    return %text;
}

1;
