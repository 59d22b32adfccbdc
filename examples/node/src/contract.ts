// The contract, read from its .proto at the start: `proto` beside `examples`, as in the repository.

import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import * as protoLoader from '@grpc/proto-loader';

import type { ProtoGrpcType } from './gen/decision';

// Numbers of 64 bits are text: JavaScript's have 53. The options are those of generate.sh.
const loaded = protoLoader.loadSync('spopbridge/v1/decision.proto', {
  includeDirs: [join(__dirname, '../../../proto')],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});

export const { DecisionService } = (grpc.loadPackageDefinition(loaded) as unknown as ProtoGrpcType).spopbridge.v1;
