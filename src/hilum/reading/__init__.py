"""From files and bytes to a Radiograph: DICOM and images, trusted or not."""
