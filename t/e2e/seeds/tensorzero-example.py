import requests
import json
import time

API_KEY = "YOUR_API_KEY"
BASE_URL = "https://api.tensorzero.com/v1"

# 1. Upload file
with open("requests.jsonl", "rb") as f:
    upload_response = requests.post(
        f"{BASE_URL}/files",
        headers={"Authorization": f"Bearer {API_KEY}"},
        files={"file": f},
        data={"purpose": "batch"}
    )
file_id = upload_response.json()["id"]
print(f"File uploaded: {file_id}")

# 2. Create batch
batch_response = requests.post(
    f"{BASE_URL}/batches",
    headers={
        "Authorization": f"Bearer {API_KEY}",
        "Content-Type": "application/json"
    },
    json={
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h"
    }
)
batch_id = batch_response.json()["id"]
print(f"Batch created: {batch_id}")

# 3. Poll for completion
while True:
    batch = requests.get(
        f"{BASE_URL}/batches/{batch_id}",
        headers={"Authorization": f"Bearer {API_KEY}"}
    ).json()
    
    print(f"Status: {batch['status']}")
    
    if batch["status"] == "completed":
        output_file_id = batch["output_file_id"]
        break
    elif batch["status"] == "failed":
        print("Batch failed!")
        exit(1)
    
    time.sleep(30)  # Wait 30 seconds

# 4. Download and process results
results = requests.get(
    f"{BASE_URL}/files/{output_file_id}/content",
    headers={"Authorization": f"Bearer {API_KEY}"}
)

for line in results.text.strip().split("\n"):
    result = json.loads(line)
    custom_id = result["custom_id"]
    response_content = result["response"]["body"]["choices"][0]["message"]["content"]
    print(f"{custom_id}: {response_content}")
