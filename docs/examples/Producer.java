// Send events to events-raw, from Java with kafka-clients:
//   java -cp "kafka-clients.jar:slf4j-api.jar" Producer.java
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.zip.CRC32;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Producer {
    static final String BROKERS = System.getenv().getOrDefault("BROKERS", "127.0.0.1:9092");
    static final String TOPIC = System.getenv().getOrDefault("TOPIC", "events-raw");
    static final String ORGANIZATION = "00000000-0000-4000-8000-000000000001";
    static final String SUBSCRIPTION = "acme-storage";

    // The home of a key as librdkafka finds it: then no event needs a second hop. Where all
    // producers are Java, leave the partition out and start with METER_HOME_PARTITIONER=murmur2.
    static int home(String key, int partitions) {
        CRC32 sum = new CRC32();
        sum.update(key.getBytes(StandardCharsets.UTF_8));
        return (int) (sum.getValue() % partitions);
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", BROKERS, "acks", "all");
        StringSerializer texts = new StringSerializer();
        try (var producer = new KafkaProducer<>(settings, texts, new StringSerializer())) {
            // Sent again after a failure it counts once: the id makes it the same event.
            // A quantity as text: no float ever touches it.
            String event = """
                {"organization_id": "%s", "external_subscription_id": "%s",
                 "transaction_id": "storage-0006", "code": "storage",
                 "properties": {"gb": "0.75", "provider": "azure"}}"""
                .formatted(ORGANIZATION, SUBSCRIPTION);
            String key = ORGANIZATION + "-" + SUBSCRIPTION;
            int partition = home(key, producer.partitionsFor(TOPIC).size());
            producer.send(new ProducerRecord<>(TOPIC, partition, key, event)).get();
        }
    }
}
