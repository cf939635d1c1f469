# sourced by nginx's configure once the makefile is written

cat << END                                                >> $NGX_MAKEFILE

$NGX_OBJS/addon/ngx_http_batch_lua/ngx_http_batch_lua.h:	\\
	$ngx_addon_dir/scripts/lua2c.sh $ngx_http_batch_lua
	sh $ngx_addon_dir/scripts/lua2c.sh \\
		$NGX_OBJS/addon/ngx_http_batch_lua/ngx_http_batch_lua.h \\
		$ngx_http_batch_lua

END
