/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * JSON values that must be accepted (with their compact form) and texts that
 * must be refused.
 */

#ifndef _JSON_TABLE_H_INCLUDED_
#define _JSON_TABLE_H_INCLUDED_

#include <stddef.h>

typedef struct {
    size_t       len;
    const char  *text;
    size_t       out_len;
    const char  *out;                /* NULL: as text */
} json_row_t;

#define Y(s)     { sizeof(s) - 1, s, 0, NULL }
#define C(s, o)  { sizeof(s) - 1, s, sizeof(o) - 1, o }
#define N(s)     { sizeof(s) - 1, s, 0, NULL }

static const json_row_t  json_good[] = {
    Y("null"), Y("true"), Y("false"), Y("0"), Y("-0"), Y("1"), Y("-1"),
    Y("1.5"), Y("-0.0"), Y("1e5"), Y("1E+5"), Y("1e-05"), Y("0e0"), Y("0.1e1"),
    Y("1e400"), Y("123456789012345678901234567890"), Y("10"), Y("1.000"),
    Y("\"\""), Y("\"a\""), Y("\"abcdefghijklmnopqrstuvwxyz0123456789\""),
    Y("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), Y("\"\\u0000\""), Y("\"\\uABcd\""),
    Y("\"\\ud800\""), Y("\"\\udc00\\ud800\""), Y("\"\\ud83d\\ude00\""),
    Y("\"\x7f\""), Y("\"\xc2\x80\""), Y("\"\xc3\xa9\""), Y("\"\xdf\xbf\""),
    Y("\"\xe0\xa0\x80\""), Y("\"\xed\x9f\xbf\""), Y("\"\xee\x80\x80\""),
    Y("\"\xef\xbf\xbf\""), Y("\"\xf0\x90\x80\x80\""),
    Y("\"\xf4\x8f\xbf\xbf\""), Y("\"\xef\xbb\xbf\""),
    Y("\"0123456789abcde\xc3\xa9" "0123456789abcdef\""),
    Y("[]"), Y("{}"), Y("[[]]"), Y("[{}]"), Y("[1,2,3]"), Y("[[],{},\"\"]"),
    Y("{\"\":0}"), Y("{\"a\":1,\"a\":2}"), Y("{\"a\":{\"b\":[{\"c\":null}]}}"),
    Y("[null,1,\"1\",{}]"), Y("{\"\\u0061\":\"\\u0062\"}"),
    Y("[1.5,-2e3,0]"), Y("[[[[[[[[[[]]]]]]]]]]"),
    C(" 1 ", "1"), C("\t\r\n[ ]", "[]"), C("{ }", "{}"),
    C("[ 1 , 2 ]", "[1,2]"), C("{ \"a\" : 1 , \"b\" : [ ] }",
                               "{\"a\":1,\"b\":[]}"),
    C("{\n  \"a\": \" x \"\n}\n", "{\"a\":\" x \"}"),
    C("\"\xc2\x85\"", "\"\\u0085\""), C("\"\xe2\x80\xa8\"", "\"\\u2028\""),
    C("\"a\xe2\x80\xa9z\"", "\"a\\u2029z\""),
    C("\"\\\\\xe2\x80\xa8\"", "\"\\\\\\u2028\""),
    Y("\"\xe2\x80\xa7\""), Y("\"\xe2\x80\xaa\""), Y("\"\xc2\x86\""),
    C("{\"\xe2\x80\xa8\":\"\xe2\x80\xa8\xe2\x80\xa8\xc2\x85\"}",
      "{\"\\u2028\":\"\\u2028\\u2028\\u0085\"}")
};

static const json_row_t  json_bad[] = {
    N(""), N(" "), N("nul"), N("nulll"), N("True"), N("NaN"), N("Infinity"),
    N("-Infinity"), N("undefined"), N("truefalse"), N("tru e"),
    N("+1"), N("-"), N("--1"), N("01"), N("-01"), N("00"), N("1."), N(".5"),
    N("-.5"), N("1.e5"), N("1e"), N("1e+"), N("1E-"), N("1e5.5"), N("0x1f"),
    N("1.2.3"), N("1_000"), N("1 000"), N("1a"), N("- 1"), N("1e 5"),
    N("0e"), N("\xef\xbc\x91"),
    N("\""), N("\"a"), N("\"a\\"), N("\"a\\\""), N("'a'"), N("\"\\x41\""),
    N("\"\\a\""), N("\"\\U0041\""), N("\"\\u\""), N("\"\\u12\""),
    N("\"\\u12g4\""), N("\"\\u 123\""), N("\"\\'\""), N("\"\\\n\""),
    N("\"\\\xe2\x80\xa8\""),
    N("\"\n\""), N("\"\t\""), N("\"\0\""), N("\"\x1f\""), N("\0"), N("1\0"),
    N("\v1"), N("1\f"), N("\xc2\xa0" "1"), N("a"),
    N("\"\x80\""), N("\"\xbf\""), N("\"\xc0\x80\""), N("\"\xc1\xbf\""),
    N("\"\xc3\""), N("\"\xc3\x28\""), N("\"\xe0\x80\x80\""),
    N("\"\xe0\x9f\xbf\""), N("\"\xe2\x80\""), N("\"\xe2\x28\xa8\""),
    N("\"\xed\xa0\x80\""), N("\"\xed\xbf\xbf\""), N("\"\xf0\x8f\xbf\xbf\""),
    N("\"\xf4\x90\x80\x80\""), N("\"\xf5\x80\x80\x80\""), N("\"\xff\""),
    N("\"\xf0\x90\x80\""), N("\"\xf8\x88\x80\x80\x80\""),
    N("\"0123456789abcdef\xff\""),
    N("["), N("]"), N("[1"), N("[1,"), N("[1,]"), N("[,1]"), N("[,]"),
    N("[1 2]"), N("[1;2]"), N("[1}"), N("[}"), N("[1]]"), N("[\"a\":1]"),
    N("[1:2]"), N("[1,,2]"), N("{"), N("}"), N("{]"), N("{\"a\""), N("{\"a\":"),
    N("{\"a\":1"), N("{\"a\":1,"), N("{\"a\":1,}"), N("{,\"a\":1}"),
    N("{\"a\" 1}"), N("{\"a\",1}"), N("{\"a\"}"), N("{a:1}"), N("{1:1}"),
    N("{'a':1}"), N("{null:1}"), N("{\"a\"::1}"), N("{\"a\":1 \"b\":2}"),
    N("{\"a\":1,,\"b\":2}"), N("{\"a\":1]"), N("{\"a\":}"), N("{{}}"),
    N("{[]:1}"), N("1 2"), N("{}{}"), N("[][]"), N("\"a\" \"b\""), N("{}x"),
    N("// c\n1"), N("1 // c"), N("/* c */ 1"), N("[1 /* c */]"), N("1,"),
    N("# 1"), N("[1] ,"), N("\\u0031"), N("\xef\xbb"), N("\xef\xbb\xbe" "1"),
    N("\xff\xfe" "1\0"), N(" \xef\xbb\xbf" "1"), N("\xef\xbb\xbf")
};

#define JSON_GOOD  (sizeof(json_good) / sizeof(json_good[0]))
#define JSON_BAD   (sizeof(json_bad) / sizeof(json_bad[0]))

#endif
