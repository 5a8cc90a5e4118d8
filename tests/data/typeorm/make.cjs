// Prints the statements of nestjs.sql: TypeORM makes the tables of the NestJS backend in an empty database.
//   npm install typeorm@0.3 pg reflect-metadata   (anywhere; set NODE_PATH to its node_modules)
//   node make.cjs PORT                            (PostgreSQL on 127.0.0.1; superuser postgres without
//                                                  password; database typeorm)
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const created = { type: 'timestamptz', createDate: true }, updated = { type: 'timestamptz', updateDate: true };
const User = new EntitySchema({ name: 'UserEntity', tableName: 'users', columns: {
  id: { type: 'uuid', primary: true, generated: 'uuid' },
  email: { type: 'varchar', length: 255, unique: true },
  passwordHash: { type: 'varchar', length: 255 },
  displayName: { type: 'varchar', length: 100 },
  isActive: { type: 'boolean', default: true },
  createdAt: created, updatedAt: updated },
  indices: [{ columns: ['email'] }] });
const Meeting = new EntitySchema({ name: 'MeetingEntity', tableName: 'meetings', columns: {
  id: { type: 'uuid', primary: true, generated: 'uuid' },
  title: { type: 'varchar', length: 255 },
  roomCode: { type: 'varchar', length: 20, unique: true },
  hostId: { type: 'uuid' },
  status: { type: 'enum', enum: ['waiting', 'active', 'closed'], default: 'waiting' },
  maxParticipants: { type: 'int', default: 100 },
  startedAt: { type: 'timestamptz', nullable: true },
  endedAt: { type: 'timestamptz', nullable: true },
  peakParticipants: { type: 'int', default: 0 },
  createdAt: created, updatedAt: updated },
  relations: { host: { type: 'many-to-one', target: 'UserEntity', joinColumn: { name: 'hostId' } } },
  indices: [{ columns: ['roomCode'] }, { columns: ['hostId'] }] });
const AuditLog = new EntitySchema({ name: 'AuditLogEntity', tableName: 'audit_logs', columns: {
  id: { type: 'uuid', primary: true, generated: 'uuid' },
  action: { type: 'enum', enum: ['room_created', 'room_closed', 'user_joined', 'user_left', 'user_kicked', 'user_muted', 'all_muted', 'role_changed', 'producer_created', 'producer_closed', 'consumer_created'] },
  userId: { type: 'uuid', nullable: true },
  roomId: { type: 'uuid', nullable: true },
  metadata: { type: 'jsonb', nullable: true },
  ipAddress: { type: 'inet', nullable: true },
  createdAt: created },
  relations: { user: { type: 'many-to-one', target: 'UserEntity', joinColumn: { name: 'userId' }, nullable: true } },
  indices: [{ columns: ['userId'] }, { columns: ['roomId'] }] });
const d = new DataSource({ type: 'postgres', host: '127.0.0.1', port: +process.argv[2], username: 'postgres', database: 'typeorm',
  entities: [User, Meeting, AuditLog], synchronize: true, logging: ['query'],
  logger: { logQuery(q) { if (/^\s*(CREATE|ALTER)/i.test(q)) console.log(q.trim() + ';'); }, logQueryError(e, q) { console.error(e, q); }, logQuerySlow() {}, logSchemaBuild() {}, logMigration() {}, log() {} } });
d.initialize().then(() => d.destroy());
