import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams: count and sum of each key, exactly_once_v2, two threads, cached store. */
public class Streams {
    static final String STORE = "totals";
    static final AtomicLong taken = new AtomicLong();
    static final AtomicReference<double[]> first = new AtomicReference<>();
    static final OperatingSystemMXBean machine =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    static double[] now() {
        return new double[] {System.currentTimeMillis() / 1e3, machine.getProcessCpuTime() / 1e9};
    }

    static class Count implements Processor<byte[], byte[], Void, Void> {
        private final ObjectMapper json = new ObjectMapper();
        private KeyValueStore<String, byte[]> totals;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            totals = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            if (record.value() == null) return;
            if (first.get() == null) first.compareAndSet(null, now());
            try {
                JsonNode body = json.readTree(record.value());
                boolean cloud = body.has("specversion");
                String name = body.get(cloud ? "subject" : "external_subscription_id").textValue();
                String code = body.get(cloud ? "type" : "code").textValue();
                double gb = body.get(cloud ? "data" : "properties").get("gb").doubleValue();
                String key = name + "|" + code;
                byte[] before = totals.get(key);
                ByteBuffer old = before == null ? ByteBuffer.allocate(16) : ByteBuffer.wrap(before);
                byte[] after = ByteBuffer.allocate(16)
                    .putLong(old.getLong(0) + 1).putDouble(old.getDouble(8) + gb).array();
                totals.put(key, after);
            } catch (java.io.IOException error) {
                throw new RuntimeException(error);
            }
            taken.incrementAndGet();
        }
    }

    public static void main(String[] arguments) throws Exception {
        JsonNode task = new ObjectMapper().readTree(Path.of(arguments[0]).toFile());
        String directory = task.get("directory").asText();
        String group = task.get("group").asText();
        String topic = task.get("topic").asText();
        long records = task.get("records").asLong();
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, group);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, task.get("servers").asText());
        properties.put(StreamsConfig.STATE_DIR_CONFIG, directory + "/state");
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        boolean memory = task.get("options").get("store").asText().equals("memory");
        var supplier = memory
            ? Stores.inMemoryKeyValueStore(STORE) : Stores.persistentKeyValueStore(STORE);
        Topology topology = new Topology();
        topology.addSource(
            "events", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), topic);
        topology.addProcessor("count", Count::new, "events");
        topology.addStateStore(
            Stores.keyValueStoreBuilder(supplier, Serdes.String(), Serdes.ByteArray())
                .withCachingEnabled().withLoggingEnabled(Map.of()),
            "count");
        KafkaStreams streams = new KafkaStreams(topology, properties);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        streams.start();
        long untilNs = System.nanoTime() + TimeUnit.MINUTES.toNanos(10);
        while (taken.get() < records) {
            if (System.nanoTime() > untilNs) throw new IllegalStateException(taken + " records");
            Thread.sleep(10);
        }
        // Offsets go with the transaction: when all are committed, so is the state.
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", task.get("servers").asText()))) {
            while (!committed(admin, group, topic, task.get("ends"))) {
                if (System.nanoTime() > untilNs) throw new IllegalStateException("not committed");
                Thread.sleep(20);
            }
        }
        double[] last = now();
        Files.writeString(Path.of(directory, "result.json"), String.format(
            Locale.ROOT, "{\"first_s\": %.6f, \"last_s\": %.6f, \"cpu_s\": %.6f}",
            first.get()[0], last[0], last[1] - first.get()[1]));
        streams.close();
    }

    static boolean committed(Admin admin, String group, String topic, JsonNode ends)
            throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets =
            admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        for (int partition = 0; partition < ends.size(); partition++) {
            OffsetAndMetadata offset = offsets.get(new TopicPartition(topic, partition));
            long end = ends.get(partition).asLong();
            if (end > 0 && (offset == null || offset.offset() < end)) return false;
        }
        return true;
    }
}
