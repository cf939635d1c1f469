package BatchSchema;

# Copyright (C) the ngx_http_batch_module authors
#
# As much of JSON Schema as an OpenAPI of ours needs: type, anyOf, $ref,
# properties, required, additionalProperties, items, const, enum, pattern,
# minimum and maximum.  Any other keyword that constrains is an error, not
# ignored.
#
#     my $s = BatchSchema->new('t/e2e/impala-schema.json');
#     my @defects = $s->check('BatchModel', $decoded);
#
#     BatchSchema::answer($r)    fails the test if an answer as BatchTest::http()
#                                returns it is the API's, and JSON that
#                                t/lib/api-schema.json does not allow; with a
#                                job_id also if Impala's OpenAPI does not
#
# BatchTest::api(), BatchRaw and BatchH2 ask it about every answer.

use strict;
use warnings;

use B ();
use JSON::PP ();

my %said = map { $_ => 1 } qw(title description default);


sub new {
    my ($class, $file) = @_;

    open my $in, '<:raw', $file or die "$file: $!\n";
    local $/;

    return bless { root => JSON::PP->new->utf8->decode(<$in>) }, $class;
}


sub check {
    my ($self, $name, $value) = @_;

    return $self->walk({ '$ref' => "#/components/schemas/$name" }, $value,
                       $name);
}


sub type_of {
    my ($v) = @_;

    return 'null' unless defined $v;
    return 'object' if ref $v eq 'HASH';
    return 'array' if ref $v eq 'ARRAY';
    return 'boolean' if ref $v;

    my $flags = B::svref_2object(\$v)->FLAGS;

    return 'string' if $flags & B::SVf_POK;
    return $flags & B::SVf_IOK ? 'integer' : 'number';
}


sub walk {
    my ($self, $schema, $v, $at) = @_;
    my @bad;
    my $type = type_of($v);

    if (my $ref = $schema->{'$ref'}) {
        my $to = $self->{root};

        for (grep { length && $_ ne '#' } split m{/}, $ref) {
            $to = $to->{$_} // die "no $ref\n";
        }

        push @bad, $self->walk($to, $v, $at);
    }

    for my $k (sort keys %$schema) {
        my $s = $schema->{$k};

        if ($k eq 'type') {
            push @bad, "$at is $type, not $s"
                unless $type eq $s || ($type eq 'integer' && $s eq 'number');

        } elsif ($k eq 'anyOf') {
            push @bad, "$at ($type) is none of anyOf"
                unless grep { !$self->walk($_, $v, $at) } @$s;

        } elsif ($k eq 'const') {
            push @bad, "$at is not $s" unless ($v // '') eq $s;

        } elsif ($k eq 'enum') {
            push @bad, "$at is none of @$s"
                unless grep { ($v // '') eq $_ } @$s;

        } elsif ($k eq 'pattern') {
            push @bad, "$at does not match $s"
                if $type eq 'string' && $v !~ /$s/;

        } elsif ($k eq 'minimum') {
            push @bad, "$at < $s" if $type eq 'integer' && $v < $s;

        } elsif ($k eq 'maximum') {
            push @bad, "$at > $s" if $type eq 'integer' && $v > $s;

        } elsif ($k eq 'required') {
            push @bad, map { "$at.$_ is missing" }
                       grep { $type eq 'object' && !exists $v->{$_} } @$s;

        } elsif ($k eq 'properties') {
            push @bad, map { $self->walk($s->{$_}, $v->{$_}, "$at.$_") }
                       grep { $type eq 'object' && exists $v->{$_} }
                       sort keys %$s;

        } elsif ($k eq 'additionalProperties') {
            my @more = grep { !$schema->{properties}{$_} }
                       $type eq 'object' ? sort keys %$v : ();

            push @bad, ref $s eq 'HASH'
                       ? map { $self->walk($s, $v->{$_}, "$at.$_") } @more
                       : $s ? () : map { "$at.$_ is not known" } @more;

        } elsif ($k eq 'items') {
            push @bad, map { $self->walk($s, $v->[$_], "$at\[$_]") }
                       $type eq 'array' ? 0 .. $#$v : ();

        } elsif ($k ne '$ref' && !$said{$k}) {
            die "keyword $k of $at is not known here\n";
        }
    }

    return @bad;
}


my ($api, $impala);

sub answer {
    my ($r) = @_;
    my ($h, $json) = @$r{qw(headers json)};

    # nginx and the upstream do not send these two

    return unless ($h->{'content-type'} // '') eq 'application/json'
                  && $h->{'x-content-type-options'} && $h->{'x-request-id'}
                  && length $r->{body};

    $api //= BatchSchema->new('t/lib/api-schema.json');
    $impala //= BatchSchema->new('t/e2e/impala-schema.json');

    my $name = ref $json ne 'HASH' ? undef : answer_name($r->{status}, $json);
    my @bad = defined $name ? $api->check($name, $json) : ('is not known');

    push @bad, $impala->check('ErrorResponseModel', $json)
        if ($name // '') eq 'Error';

    for my $b (($name // '') eq 'Batch' ? $json
               : ($name // '') eq 'BatchList' ? @{ $json->{data} } : ())
    {
        push @bad, $impala->check('BatchModel', $b) if length $b->{job_id};
    }

    return unless @bad;

    Test::More::fail('an answer is as its schema has it');
    Test::More::diag(join("\n", @bad, substr $r->{body}, 0, 1000));
}


# what an answer is by its own word

sub answer_name {
    my ($status, $json) = @_;
    my $object = $json->{object} // '';

    return 'Error' if $status >= 400;
    return undef if $status != 200;
    return exists $json->{deleted} ? 'FileDeleted' : 'File'
        if $object eq 'file';
    return { batch => 'Batch', upload => 'Upload',
             'upload.part' => 'UploadPart' }->{$object} if $object ne 'list';

    my $first = $json->{data}[0] // {};

    return ($first->{object} // '') eq 'batch' ? 'BatchList' : 'FileList';
}

1;
