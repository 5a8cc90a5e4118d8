-- The tables of the NestJS backend, as TypeORM 0.3 makes them. tests/data/typeorm/make.cjs prints these
-- statements.
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE TABLE "users" ("id" uuid NOT NULL DEFAULT uuid_generate_v4(), "email" character varying(255) NOT NULL, "passwordHash" character varying(255) NOT NULL, "displayName" character varying(100) NOT NULL, "isActive" boolean NOT NULL DEFAULT true, "createdAt" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), "updatedAt" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "UQ_97672ac88f789774dd47f7c8be3" UNIQUE ("email"), CONSTRAINT "PK_a3ffb1c0c8416b9fc6f907b7433" PRIMARY KEY ("id"));
CREATE INDEX "IDX_97672ac88f789774dd47f7c8be" ON "users" ("email");
CREATE TYPE "public"."meetings_status_enum" AS ENUM('waiting', 'active', 'closed');
CREATE TABLE "meetings" ("id" uuid NOT NULL DEFAULT uuid_generate_v4(), "title" character varying(255) NOT NULL, "roomCode" character varying(20) NOT NULL, "hostId" uuid NOT NULL, "status" "public"."meetings_status_enum" NOT NULL DEFAULT 'waiting', "maxParticipants" integer NOT NULL DEFAULT '100', "startedAt" TIMESTAMP WITH TIME ZONE, "endedAt" TIMESTAMP WITH TIME ZONE, "peakParticipants" integer NOT NULL DEFAULT '0', "createdAt" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), "updatedAt" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "UQ_bad0d82fe56792d4a051f63a79b" UNIQUE ("roomCode"), CONSTRAINT "PK_aa73be861afa77eb4ed31f3ed57" PRIMARY KEY ("id"));
CREATE INDEX "IDX_bad0d82fe56792d4a051f63a79" ON "meetings" ("roomCode");
CREATE INDEX "IDX_f4c16c40d16a9eb2003c5dd1ff" ON "meetings" ("hostId");
CREATE TYPE "public"."audit_logs_action_enum" AS ENUM('room_created', 'room_closed', 'user_joined', 'user_left', 'user_kicked', 'user_muted', 'all_muted', 'role_changed', 'producer_created', 'producer_closed', 'consumer_created');
CREATE TABLE "audit_logs" ("id" uuid NOT NULL DEFAULT uuid_generate_v4(), "action" "public"."audit_logs_action_enum" NOT NULL, "userId" uuid, "roomId" uuid, "metadata" jsonb, "ipAddress" inet, "createdAt" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "PK_1bb179d048bbc581caa3b013439" PRIMARY KEY ("id"));
CREATE INDEX "IDX_cfa83f61e4d27a87fcae1e025a" ON "audit_logs" ("userId");
CREATE INDEX "IDX_3c868775b83bc1eaa72de9251a" ON "audit_logs" ("roomId");
ALTER TABLE "meetings" ADD CONSTRAINT "FK_f4c16c40d16a9eb2003c5dd1ff2" FOREIGN KEY ("hostId") REFERENCES "users"("id") ON DELETE NO ACTION ON UPDATE NO ACTION;
ALTER TABLE "audit_logs" ADD CONSTRAINT "FK_cfa83f61e4d27a87fcae1e025ab" FOREIGN KEY ("userId") REFERENCES "users"("id") ON DELETE NO ACTION ON UPDATE NO ACTION;
