import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

/** Java's own client: an authority's file, the address of a site, a version of HTTP, one of TLS, and where to put what it gets. */
public class Client {
    public static void main(String[] args) throws Exception {
        KeyStore known = KeyStore.getInstance(KeyStore.getDefaultType());
        known.load(null, null);
        try (InputStream file = Files.newInputStream(Path.of(args[0]))) {
            known.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(known);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        SSLParameters parameters = context.getDefaultSSLParameters();
        parameters.setProtocols(new String[] {args[3]});
        HttpClient client = HttpClient.newBuilder()
            .version(HttpClient.Version.valueOf(args[2]))
            .sslContext(context)
            .sslParameters(parameters)
            .build();
        for (int request = 0; request < 3; request++) {
            say(client.send(
                HttpRequest.newBuilder(URI.create("https://" + args[1] + "/")).build(),
                HttpResponse.BodyHandlers.ofString()));
        }
        byte[] body = new byte[3_000_000];
        HttpResponse<String> put = client.send(
            HttpRequest.newBuilder(URI.create("https://" + args[1] + "/upload/java"))
                .PUT(HttpRequest.BodyPublishers.ofByteArray(body)).build(),
            HttpResponse.BodyHandlers.ofString());
        HttpResponse<byte[]> got = client.send(
            HttpRequest.newBuilder(URI.create("https://" + args[1] + "/files/java")).build(),
            HttpResponse.BodyHandlers.ofByteArray());
        Files.write(Path.of(args[4]), got.body());
        System.out.println(put.statusCode() / 100 + " " + got.statusCode());
    }

    private static void say(HttpResponse<String> response) {
        System.out.println(response.version() + " " + response.sslSession().get().getProtocol() + " "
            + response.statusCode() + " " + response.body().trim());
    }
}
