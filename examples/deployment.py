"""A Deployment by the official kubernetes client, unchanged, in a namespace of its own.

eval "$(weft env)"; python examples/deployment.py IMAGE        # an image with busybox's httpd
"""

import sys
import time
import urllib.request

from kubernetes import client, config


def create_deployment(namespace: str, name: str, image: str, replicas: int) -> None:
    container = client.V1Container(
        name=name,
        image=image,
        image_pull_policy="IfNotPresent",
        command=["sh", "-c", "hostname > /index.html && exec httpd -f -p 80 -h /"],
        ports=[client.V1ContainerPort(container_port=80)],
    )
    deployment = client.V1Deployment(
        api_version="apps/v1",
        kind="Deployment",
        metadata=client.V1ObjectMeta(name=name),
        spec=client.V1DeploymentSpec(
            replicas=replicas,
            selector={"matchLabels": {"app": name}},
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels={"app": name}),
                spec=client.V1PodSpec(containers=[container]),
            ),
        ),
    )
    client.AppsV1Api().create_namespaced_deployment(namespace, deployment)


def wait_ready(namespace: str, name: str, replicas: int) -> None:
    for _ in range(300):
        status = client.AppsV1Api().read_namespaced_deployment(name, namespace).status
        if status.ready_replicas == replicas:
            return
        time.sleep(0.1)
    sys.exit(f"deployment {name} was not ready in 30 s: {status}")


def main(image: str) -> None:
    config.load_kube_config()
    core = client.CoreV1Api()
    namespace, name, replicas = "deployment-example", "web", 2
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
    try:
        create_deployment(namespace, name, image, replicas)
        wait_ready(namespace, name, replicas)
        for pod in core.list_namespaced_pod(namespace).items:
            url = f"http://{pod.status.pod_ip}:80/index.html"
            answer = urllib.request.urlopen(url, timeout=5).read().decode().strip()
            print(f"{pod.metadata.name} is {pod.status.phase} and answers on {url}: {answer}")
    finally:
        core.delete_namespace(namespace)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "busybox")
