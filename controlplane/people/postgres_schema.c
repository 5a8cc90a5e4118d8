/* The tables of the NestJS backend in PostgreSQL. Ringcast makes them as TypeORM makes them,
 * accepts those that TypeORM made, or refuses other ones with a sentence. All in one transaction
 * behind a lock: when two control planes start at once, only one migrates.
 *
 * Constraints and indexes have TypeORM's names (hashes of table and columns), so that the NestJS
 * backend finds nothing to change. Never edit a text of `migrations` that was released: a change is
 * a new text at the end. */
#include "postgres_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "columns.h"

/* Every statement below may run again on a database that has its result already. */
static const char begin_text[] =
    "BEGIN;"
    "SET LOCAL client_min_messages = warning;"
    "SET LOCAL lock_timeout = '30s';"
    "SELECT pg_advisory_xact_lock(7378697629483820646);" /* any number, the same everywhere */
    "DO $ringcast$ BEGIN"
    " IF to_regclass('ringcast_schema') IS NULL THEN"
    "  CREATE TABLE \"ringcast_schema\" (\"version\" integer NOT NULL);"
    "  INSERT INTO \"ringcast_schema\" VALUES (0);"
    " END IF; "
    "END $ringcast$;";

/* Ids get the default that TypeORM gives them. On a server without that extension, or for a user
 * who may not create it, they get the built-in function. */
static const char tables_text[] =
    "DECLARE id_default text := 'uuid_generate_v4()'; "
    "BEGIN"
    " BEGIN"
    "  CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\";"
    " EXCEPTION WHEN OTHERS THEN"
    "  id_default := 'gen_random_uuid()';"
    " END;"
    " IF to_regproc('uuid_generate_v4') IS NULL THEN" /* not in our search path */
    "  id_default := 'gen_random_uuid()';"
    " END IF;"
    " IF to_regclass('users') IS NULL THEN"
    "  EXECUTE format('CREATE TABLE \"users\" (\"id\" uuid NOT NULL DEFAULT %s,"
    "   \"email\" character varying(255) NOT NULL,"
    "   \"passwordHash\" character varying(255) NOT NULL,"
    "   \"displayName\" character varying(100) NOT NULL,"
    "   \"isActive\" boolean NOT NULL DEFAULT true,"
    "   \"createdAt\" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),"
    "   \"updatedAt\" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),"
    "   CONSTRAINT \"UQ_97672ac88f789774dd47f7c8be3\" UNIQUE (\"email\"),"
    "   CONSTRAINT \"PK_a3ffb1c0c8416b9fc6f907b7433\" PRIMARY KEY (\"id\"))', id_default);"
    "  CREATE INDEX \"IDX_97672ac88f789774dd47f7c8be\" ON \"users\" (\"email\");"
    " END IF;"
    " IF to_regclass('meetings') IS NULL THEN"
    "  IF to_regtype('meetings_status_enum') IS NULL THEN"
    "   CREATE TYPE \"meetings_status_enum\" AS ENUM('waiting', 'active', 'closed');"
    "  END IF;"
    "  EXECUTE format('CREATE TABLE \"meetings\" (\"id\" uuid NOT NULL DEFAULT %s,"
    "   \"title\" character varying(255) NOT NULL,"
    "   \"roomCode\" character varying(20) NOT NULL,"
    "   \"hostId\" uuid NOT NULL,"
    "   \"status\" \"meetings_status_enum\" NOT NULL DEFAULT ''waiting'',"
    "   \"maxParticipants\" integer NOT NULL DEFAULT 100,"
    "   \"startedAt\" TIMESTAMP WITH TIME ZONE,"
    "   \"endedAt\" TIMESTAMP WITH TIME ZONE,"
    "   \"peakParticipants\" integer NOT NULL DEFAULT 0,"
    "   \"createdAt\" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),"
    "   \"updatedAt\" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),"
    "   CONSTRAINT \"UQ_bad0d82fe56792d4a051f63a79b\" UNIQUE (\"roomCode\"),"
    "   CONSTRAINT \"PK_aa73be861afa77eb4ed31f3ed57\" PRIMARY KEY (\"id\"),"
    "   CONSTRAINT \"FK_f4c16c40d16a9eb2003c5dd1ff2\" FOREIGN KEY (\"hostId\")"
    "    REFERENCES \"users\"(\"id\"))', id_default);"
    "  CREATE INDEX \"IDX_bad0d82fe56792d4a051f63a79\" ON \"meetings\" (\"roomCode\");"
    "  CREATE INDEX \"IDX_f4c16c40d16a9eb2003c5dd1ff\" ON \"meetings\" (\"hostId\");"
    " END IF;"
    " IF to_regclass('audit_logs') IS NULL THEN"
    "  IF to_regtype('audit_logs_action_enum') IS NULL THEN"
    "   CREATE TYPE \"audit_logs_action_enum\" AS ENUM('room_created', 'room_closed',"
    "    'user_joined', 'user_left', 'user_kicked', 'user_muted', 'all_muted', 'role_changed',"
    "    'producer_created', 'producer_closed', 'consumer_created');"
    "  END IF;"
    "  EXECUTE format('CREATE TABLE \"audit_logs\" (\"id\" uuid NOT NULL DEFAULT %s,"
    "   \"action\" \"audit_logs_action_enum\" NOT NULL,"
    "   \"userId\" uuid, \"roomId\" uuid, \"metadata\" jsonb, \"ipAddress\" inet,"
    "   \"createdAt\" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),"
    "   CONSTRAINT \"PK_1bb179d048bbc581caa3b013439\" PRIMARY KEY (\"id\"),"
    "   CONSTRAINT \"FK_cfa83f61e4d27a87fcae1e025ab\" FOREIGN KEY (\"userId\")"
    "    REFERENCES \"users\"(\"id\"))', id_default);"
    "  CREATE INDEX \"IDX_cfa83f61e4d27a87fcae1e025a\" ON \"audit_logs\" (\"userId\");"
    "  CREATE INDEX \"IDX_3c868775b83bc1eaa72de9251a\" ON \"audit_logs\" (\"roomId\");"
    " END IF; "
    "END";

/* What Ringcast adds to the tables of the NestJS backend. The index finds e-mail addresses that the
 * NestJS backend stored in mixed case. The table says which control plane has which meeting active,
 * so that a control plane closes its own after a restart. */
static const char additions_text[] =
    "BEGIN"
    " CREATE INDEX IF NOT EXISTS \"IDX_ringcast_users_email\" ON \"users\" (lower(\"email\"));"
    " CREATE TABLE IF NOT EXISTS \"ringcast_active_meetings\" ("
    "  \"meetingId\" uuid PRIMARY KEY REFERENCES \"meetings\"(\"id\") ON DELETE CASCADE,"
    "  \"node\" uuid NOT NULL, \"run\" uuid NOT NULL);"
    " CREATE INDEX IF NOT EXISTS \"IDX_ringcast_active_meetings_node\""
    "  ON \"ringcast_active_meetings\" (\"node\"); "
    "END";

static const char *const migrations[] = {tables_text, additions_text};
#define MIGRATION_COUNT (sizeof(migrations) / sizeof(migrations[0]))

/* The types of columns, as format_type writes them; "*": any enum. */
#define TYPE_uuid "uuid"
#define TYPE_text "character varying"
#define TYPE_word "*"
#define TYPE_flag "boolean"
#define TYPE_count "integer"
#define TYPE_time "timestamp with time zone"
#define TYPE_time_or_null TYPE_time
#define USERS_ROW(number, kind, column, field) ", ('users', '" column "', '" TYPE_##kind "')"
#define MEETINGS_ROW(number, kind, column, field) ", ('meetings', '" column "', '" TYPE_##kind "')"

/* What a database must have, no matter what made its tables. */
/* clang-format off */
static const char check_text[] =
    "DO $ringcast$ DECLARE wanted record; found text; "
    "BEGIN"
    " IF (SELECT max(\"version\") FROM \"ringcast_schema\") > %u THEN"
    "  RAISE EXCEPTION 'the tables have schema version %%, but this program knows only up to %u:"
    " start the newer Ringcast that made them', (SELECT max(\"version\") FROM \"ringcast_schema\");"
    " END IF;"
    " FOR wanted IN SELECT * FROM (VALUES"
    " ('users', 'id', 'uuid')" USER_COLUMNS(USERS_ROW)
    ", ('meetings', 'id', 'uuid')" MEETING_COLUMNS(MEETINGS_ROW)
    ", ('audit_logs', 'id', 'uuid'), ('audit_logs', 'action', '*'),"
    "  ('audit_logs', 'userId', 'uuid'),"
    "  ('audit_logs', 'roomId', 'uuid'), ('audit_logs', 'metadata', 'jsonb'),"
    "  ('audit_logs', 'ipAddress', 'inet'),"
    "  ('audit_logs', 'createdAt', 'timestamp with time zone')) AS w(tab, col, typ)"
    " LOOP"
    "  SELECT CASE WHEN t.typtype = 'e' THEN '*' ELSE format_type(a.atttypid, NULL) END INTO found"
    "   FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
    "   WHERE a.attrelid = to_regclass(wanted.tab) AND a.attname = wanted.col"
    "    AND NOT a.attisdropped;"
    "  IF found IS NULL THEN"
    "   RAISE EXCEPTION 'table \"%%\" has no column \"%%\": this is no database of Ringcast or of"
    " the NestJS backend; set POSTGRES_DB to one that is, or to an empty one',"
    "    wanted.tab, wanted.col;"
    "  END IF;"
    "  IF found <> wanted.typ THEN"
    "   RAISE EXCEPTION 'column \"%%\" of table \"%%\" is %%, it must be %%',"
    "    wanted.col, wanted.tab, found,"
    "    CASE wanted.typ WHEN '*' THEN 'an enum' ELSE wanted.typ END;"
    "  END IF;"
    " END LOOP;"
    " FOR wanted IN SELECT * FROM (VALUES ('users', 'SELECT'), ('users', 'INSERT'),"
    "  ('users', 'UPDATE'), ('meetings', 'SELECT'), ('meetings', 'INSERT'), ('meetings', 'UPDATE'),"
    "  ('audit_logs', 'SELECT'), ('audit_logs', 'INSERT'), ('ringcast_schema', 'UPDATE'),"
    "  ('ringcast_active_meetings', 'SELECT'), ('ringcast_active_meetings', 'INSERT'),"
    "  ('ringcast_active_meetings', 'UPDATE'), ('ringcast_active_meetings', 'DELETE'))"
    "  AS w(tab, priv)"
    "  WHERE NOT has_table_privilege(to_regclass(w.tab), w.priv)"
    " LOOP"
    "  RAISE EXCEPTION 'user \"%%\" may not %% in table \"%%\": GRANT %% ON \"%%\" TO \"%%\"',"
    "   current_user, wanted.priv, wanted.tab, wanted.priv, wanted.tab, current_user;"
    " END LOOP; "
    "END $ringcast$;";

/* Adds the audit actions of Ringcast that the enum of the column "action" does not have yet. Its
 * name does not matter. */
static const char words_text[] =
    "DO $ringcast$ DECLARE word text; kind regtype; "
    "BEGIN"
    " SELECT a.atttypid::regtype INTO kind FROM pg_attribute a"
    "  WHERE a.attrelid = to_regclass('audit_logs') AND a.attname = 'action';"
    " FOREACH word IN ARRAY ARRAY["
#define A(name) "'" #name "',"
    AUDIT_ACTIONS(A)
#undef A
    "NULL] LOOP"
    "  IF word IS NOT NULL AND NOT EXISTS"
    "    (SELECT 1 FROM pg_enum WHERE enumtypid = kind AND enumlabel = word) THEN"
    "   EXECUTE format('ALTER TYPE %s ADD VALUE IF NOT EXISTS %L', kind, word);"
    "  END IF;"
    " END LOOP; "
    "END $ringcast$;"
    "COMMIT";
/* clang-format on */

static const char step_text[] = "DO $ringcast$ BEGIN"
                                " IF (SELECT max(\"version\") FROM \"ringcast_schema\") < %zu THEN"
                                "  %s;"
                                "  UPDATE \"ringcast_schema\" SET \"version\" = %zu;"
                                " END IF; "
                                "END $ringcast$;";

char *pg_schema_text(void)
{
    size_t room = sizeof(begin_text) + sizeof(check_text) + sizeof(words_text) + 64, at;
    char *text;

    for (size_t i = 0; i < MIGRATION_COUNT; i++)
        room += sizeof(step_text) + strlen(migrations[i]) + 40;
    if (!(text = malloc(room)))
        return NULL;
    at = (size_t)snprintf(text, room, "%s", begin_text);
    for (size_t i = 0; i < MIGRATION_COUNT; i++)
        at += (size_t)snprintf(text + at, room - at, step_text, i + 1, migrations[i], i + 1);
    at += (size_t)snprintf(text + at, room - at, check_text, (unsigned)MIGRATION_COUNT,
                           (unsigned)MIGRATION_COUNT);
    snprintf(text + at, room - at, "%s", words_text);
    return text;
}
