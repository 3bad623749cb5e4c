// Send events to events-raw, from JavaScript: `npm install kafkajs`.
import { Kafka } from "kafkajs";

const brokers = (process.env.BROKERS ?? "127.0.0.1:9092").split(",");
const topic = process.env.TOPIC ?? "events-raw";
const organization = "00000000-0000-4000-8000-000000000001";
const subscription = "acme-storage";

const TABLE = Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte >>> 0;
});

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

// The home of a key as librdkafka finds it: then no event needs a second hop.
const librdkafka = () => ({ partitionMetadata, message }) =>
  crc32(Buffer.from(message.key)) % partitionMetadata.length;

const kafka = new Kafka({ clientId: "example", brokers });
const producer = kafka.producer({ createPartitioner: librdkafka });
await producer.connect();
try {
  const event = {
    organization_id: organization,
    external_subscription_id: subscription,
    // Sent again after a failure it counts once: the id makes it the same event.
    transaction_id: "storage-0005",
    code: "storage",
    // A quantity as text: no float ever touches it.
    properties: { gb: "1.5", provider: "aws" },
  };
  const message = { key: `${organization}-${subscription}`, value: JSON.stringify(event) };
  await producer.send({ topic, acks: -1, messages: [message] });
} finally {
  await producer.disconnect();
}
